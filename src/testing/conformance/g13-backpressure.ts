import { fixed, type CarillonError } from '../../core/index.ts';
import { holds, refused, same } from './check.ts';
import {
  conformanceCase,
  fail,
  forever,
  gate,
  handles,
  happened,
  recorder,
  several,
  type ConformanceCase,
} from './kit.ts';

/** G13: every queue has a bound; at the bound the caller waits or is refused with a retryable error. */
export const g13: readonly ConformanceCase[] = [
  conformanceCase(
    'G13-1',
    'publishes in flight have a bound; one more is refused, and may be repeated',
    async (kit) => {
      await kit.start([], { limits: { publishesInFlightMax: 10 } });
      const outcomes = await Promise.allSettled(several(15, 'e').map((event) => kit.bus.publish(event)));
      const errors = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason as CarillonError] : []));
      same(
        errors.map(({ code }) => code),
        Array(5).fill('CARILLON_OVERLOADED'),
        'refusals',
      );
      holds(
        errors.every(({ retryable, details }) => retryable && details['limit'] === 'publishesInFlightMax'),
        'what they tell',
      );
      const again = await kit.bus.publish(several(15, 'e').slice(10));
      same(
        again.map(({ duplicate }) => duplicate),
        Array(5).fill(false),
        'repeated',
      );
      same((await kit.log()).length, 15, 'events in the log');
    },
  ),

  conformanceCase('G13-2', 'so has the size of what is in flight', async (kit) => {
    await kit.start([], { limits: { publishBytesInFlightMax: 1000 } });
    const large = several(8, 'e', { data: 'x'.repeat(300) });
    const outcomes = await Promise.allSettled(large.map((event) => kit.bus.publish(event)));
    const refusals = outcomes.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[];
    holds(refusals.length > 0 && refusals.length < 8, `some are refused: ${refusals.length} of 8`);
    const [first] = refusals as [PromiseRejectedResult];
    same((first.reason as CarillonError).details['limit'], 'publishBytesInFlightMax', 'the bound named');
    await kit.bus.publish(happened('after', { data: 'x'.repeat(300) }));
  }),

  conformanceCase('G13-3', 'of a backlog only so much is held in memory, and all of it is handled', async (kit) => {
    const held = gate();
    const { handler, ids } = recorder(kit, () => held.opened);
    const limits = { readAheadMax: 50 };
    await kit.start([handles(handler, { concurrency: 10 })], { limits });
    await kit.bus.publish(several(1000, 'e'));
    await kit.until(() => ids().length === 10, 'ten attempts');
    await kit.settle();
    const { running, waiting, lag } = await kit.state();
    holds(running + waiting <= 50, `in memory: ${running} running and ${waiting} waiting`);
    holds(lag >= 950, `the rest waits in the log: ${lag}`);
    held.open();
    await kit.bus.drain();
    same(ids().length, 1000, 'handled');
  }),

  conformanceCase(
    'G13-4',
    'at the bound of keys held back a subscription stops reading, says so, and goes on',
    async (kit) => {
      let ill = true;
      const { handler, ids } = recorder(kit, () => (ill ? fail() : undefined));
      const limits = { blockedKeysMax: 10 };
      const options = { retry: fixed({ delayMs: 1000, attemptsMax: Infinity }), concurrency: 1 };
      await kit.start([handles(handler, options)], { limits });
      for (let n = 1; n <= 200; n++) await kit.bus.publish(happened(`e${n}`, { key: `k${n}` }));
      await kit.settle();
      const state = await kit.state();
      holds(state.stalled, 'it says that it has stopped reading');
      holds(ids().length < 100, `it tried ${ids().length}`);
      ill = false;
      for (let n = 0; n < 40 && new Set(ids()).size < 200; n++) await kit.advance(1000);
      await kit.bus.drain();
      same(new Set(ids()).size, 200, 'handled in the end');
      same((await kit.state()).stalled, false, 'stalled in the end');
    },
  ),

  conformanceCase('G13-5', 'an event larger than its bound is refused by name', async (kit) => {
    await kit.start([], { limits: { eventBytesMax: 500 } });
    const error = await refused(
      'CARILLON_EVENT_TOO_LARGE',
      () => kit.bus.publish(happened('e', { data: 'x'.repeat(501) })),
      'it',
    );
    same(error.details['limit'], 'eventBytesMax', 'the bound named');
    same(await kit.log(), [], 'the log');
  }),

  conformanceCase(
    'G13-6',
    'a handler that never ends holds back neither publishes nor other subscriptions',
    async (kit) => {
      const well = recorder(kit);
      await kit.start([handles(forever, { concurrency: 1 })]);
      await kit.bus.subscribe('>', well.handler, { name: 'well' });
      for (let n = 0; n < 5; n++) await kit.bus.publish(several(500, `e${n}-`));
      await kit.until(() => well.calls.length === 2500, 'the other subscription');
      holds((await kit.state()).running === 1, 'the one that hangs runs one');
    },
  ),
];
