import { fixed, noRetry } from '../../core/index.ts';
import { refused, same } from './check.ts';
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
  type Kit,
} from './kit.ts';
import { refusesOthers } from './refusals.ts';

const S = 'suite.h';

/** A bus on which `a1` and every event named `ill` fails until `mended`, and what it handled. */
async function failing(
  kit: Kit,
  options: Parameters<typeof handles>[1] = {},
): Promise<{ mend(): void; ids(): string[]; data(): unknown[] }> {
  let mended = false;
  const { handler, calls } = recorder(kit, (event) => {
    if (!mended && (event.id === 'a1' || event.id.startsWith('ill'))) fail(`${event.id} is ill`);
  });
  await kit.start([handles(handler, { retry: noRetry(), ...options })]);
  return {
    mend: () => {
      mended = true;
    },
    ids: () => calls.map(({ id }) => id),
    data: () => calls.map(({ event }) => event.data),
  };
}

async function positions(kit: Kit): Promise<number[]> {
  await kit.settle();
  return (await kit.bus.deadLetters.list()).map(({ position }) => position);
}

/** G7: after the last attempt the delivery is kept with its record; it can be looked at, edited, redriven, discarded. */
export const g7: readonly ConformanceCase[] = [
  conformanceCase('G7-1', 'a dead letter tells every attempt: when, by whom, with which error', async (kit) => {
    const { handler } = recorder(kit, (_event, context) => {
      throw Object.assign(new TypeError(`attempt ${context.attempt}`), { code: `E${context.attempt}` });
    });
    const startMs = kit.clock.now();
    await kit.start([handles(handler, { retry: fixed({ delayMs: 1000, attemptsMax: 3 }) })], { worker: 'here:1' });
    const event = happened('e', { key: 'k', data: { deep: ['data'] } });
    const { position } = await kit.bus.publish(event);
    await kit.advance(5000);
    const letter = await kit.bus.deadLetters.get(S, position as number);
    const { attempts, ...rest } = letter;
    same(
      rest,
      { subscription: S, position, key: 'k', deadMs: startMs + 2000, attemptCount: 3, holds: false, event },
      'the letter',
    );
    same(
      attempts.map(({ attempt, atMs, durationMs, worker, error }) => [
        attempt,
        atMs - startMs,
        durationMs,
        worker,
        error.name,
        error.message,
        error.code,
      ]),
      [1, 2, 3].map((n) => [n, (n - 1) * 1000, 0, 'here:1', 'TypeError', `attempt ${n}`, `E${n}`]),
      'the record',
    );
    same(await kit.bus.deadLetters.list({ subscription: S }), [letter], 'the list');
  }),

  conformanceCase('G7-2', 'of very many attempts the first and the last are kept, and all are counted', async (kit) => {
    const { handler } = recorder(kit, (_event, context) => fail(`${context.attempt}`));
    const limits = { attemptRecordsMax: 4 };
    await kit.start([handles(handler, { retry: fixed({ delayMs: 1, attemptsMax: 9 }) })], { limits });
    await kit.bus.publish(happened('e'));
    await kit.advance(100);
    const [letter] = await kit.bus.deadLetters.list();
    same([letter?.attemptCount, letter?.attempts.map(({ attempt }) => attempt)], [9, [1, 7, 8, 9]], 'count and record');
  }),

  conformanceCase(
    'G7-3',
    'redriven, it is delivered again with attempts from 1, and its record is kept',
    async (kit) => {
      const { handler, calls } = recorder(kit, () => fail());
      await kit.start([handles(handler, { retry: fixed({ delayMs: 10, attemptsMax: 2 }) })]);
      await kit.bus.publish(happened('e', { key: 'k' }));
      await kit.advance(100);
      same(await kit.bus.deadLetters.redrive({ subscription: S, positions: [1] }), 1, 'redriven');
      await kit.advance(100);
      same(
        calls.map(({ attempt }) => attempt),
        [1, 2, 1, 2],
        'attempts',
      );
      const letter = await kit.bus.deadLetters.get(S, 1);
      same(
        letter.attempts.map(({ attempt }) => attempt),
        [1, 2, 1, 2],
        'the record',
      );
    },
  ),

  conformanceCase(
    'G7-4',
    'redriven with other data, this subscription sees that data and the log stays as it was',
    async (kit) => {
      const there = await failing(kit);
      await kit.bus.publish(happened('ill', { key: 'k', data: { broken: true } }));
      same(await positions(kit), [1], 'dead');
      there.mend();
      await kit.bus.deadLetters.redrive({ subscription: S, positions: [1] }, { data: { mended: true } });
      await kit.until(() => there.data().length === 2, 'the second delivery');
      same(there.data(), [{ broken: true }, { mended: true }], 'data as the handler saw it');
      same(
        (await kit.log()).map(({ data }) => data),
        [{ broken: true }],
        'data in the log',
      );
      same(await positions(kit), [], 'dead letters left');
    },
  ),

  conformanceCase('G7-5', 'edited data outlives failures and a crash', async (kit) => {
    const options = { retry: fixed({ delayMs: 1000, attemptsMax: 2 }) };
    const there = await failing(kit, options);
    await kit.bus.publish(happened('ill', { data: 1 }));
    await kit.advance(2000);
    await kit.bus.deadLetters.redrive({ subscription: S }, { data: 2 });
    await kit.advance(500);
    same(there.data(), [1, 1, 2], 'data so far');
    await kit.crash();
    const later = await failing(kit, options);
    await kit.advance(1000);
    same(later.data(), [2], 'data after the crash');
    same((await kit.bus.deadLetters.get(S, 1)).event.data, 2, 'data of the dead letter');
  }),

  conformanceCase(
    'G7-6',
    'discarded, it is gone for good; unknown ones are refused and nothing is done',
    async (kit) => {
      const there = await failing(kit);
      await kit.bus.publish([happened('ill-1'), happened('well'), happened('ill-2'), happened('ill-3')]);
      same(await positions(kit), [1, 3, 4], 'dead');
      const { deadLetters } = kit.bus;
      await refused(
        'CARILLON_DEAD_LETTER_UNKNOWN',
        () => deadLetters.discard({ subscription: S, positions: [1, 2] }),
        'discard',
      );
      await refused(
        'CARILLON_DEAD_LETTER_UNKNOWN',
        () => deadLetters.redrive({ subscription: S, positions: [9] }),
        'redrive',
      );
      await refused('CARILLON_DEAD_LETTER_UNKNOWN', () => deadLetters.get(S, 2), 'get');
      await refused('CARILLON_DEAD_LETTER_UNKNOWN', () => deadLetters.get('nobody', 1), 'get of nobody');
      same(await positions(kit), [1, 3, 4], 'dead after refusals');
      same(await deadLetters.discard({ subscription: S, positions: [3] }), 1, 'discarded');
      same(await positions(kit), [1, 4], 'dead');
      there.mend();
      same(await deadLetters.redrive({ subscription: S }), 2, 'all redriven');
      await kit.until(() => there.ids().length === 6, 'their deliveries');
      await kit.stop();
      const later = await failing(kit);
      await kit.bus.drain();
      same([later.ids(), await positions(kit)], [[], []], 'after a restart');
    },
  ),

  conformanceCase('G7-7', 'dead letters are listed in order, page by page, by subscription', async (kit) => {
    await failing(kit);
    await kit.bus.publish(several(5, 'ill'));
    same(await positions(kit), [1, 2, 3, 4, 5], 'all');
    const page = await kit.bus.deadLetters.list({ subscription: S, after: 2, limit: 2 });
    same(
      page.map(({ position }) => position),
      [3, 4],
      'a page',
    );
    same(await kit.bus.deadLetters.list({ subscription: 'other' }), [], 'of another subscription');
    same((await kit.state()).dead, 5, 'counted');
  }),

  conformanceCase(
    'G7-8',
    "onDead 'hold': the later events of the key wait, in order, until it is redriven",
    async (kit) => {
      const there = await failing(kit, { onDead: 'hold' });
      await kit.bus.publish([...several(3, 'a', { key: 'a' }), happened('b', { key: 'b' })]);
      await kit.until(() => there.ids().includes('b'), 'another key');
      await kit.bus.publish([happened('a4', { key: 'a' }), happened('b2', { key: 'b' })]);
      await kit.until(() => there.ids().includes('b2'), 'another key, later');
      same(
        there.ids().filter((id) => id.startsWith('a')),
        ['a1'],
        'of the key that is held',
      );
      const [letter] = await kit.bus.deadLetters.list();
      same([letter?.event.id, letter?.holds], ['a1', true], 'the dead letter');
      there.mend();
      await kit.bus.deadLetters.redrive({ subscription: S, positions: [1] });
      await kit.until(() => there.ids().includes('a4'), 'the rest of the key');
      same(
        there.ids().filter((id) => id.startsWith('a')),
        ['a1', 'a1', 'a2', 'a3', 'a4'],
        'the key, in order',
      );
    },
  ),

  conformanceCase('G7-9', "onDead 'hold': discarded, the key goes on without it", async (kit) => {
    const there = await failing(kit, { onDead: 'hold' });
    await kit.bus.publish(several(3, 'a', { key: 'a' }));
    same(await positions(kit), [1], 'dead');
    await kit.bus.deadLetters.discard({ subscription: S, positions: [1] });
    await kit.until(() => there.ids().includes('a3'), 'the rest of the key');
    same(there.ids(), ['a1', 'a2', 'a3'], 'handled');
  }),

  conformanceCase('G7-10', "onDead 'hold' outlives a crash, and a redrive while the handler is away", async (kit) => {
    const first = await failing(kit, { onDead: 'hold' });
    await kit.bus.publish(several(3, 'a', { key: 'a' }));
    same(await positions(kit), [1], 'dead before the crash');
    same(first.ids(), ['a1'], 'handled before the crash');
    await kit.crash();
    const second = await failing(kit, { onDead: 'hold' });
    await kit.bus.publish([happened('a4', { key: 'a' }), happened('b', { key: 'b' })]);
    await kit.until(() => second.ids().includes('b'), 'another key');
    await kit.settle();
    same(second.ids(), ['b'], 'after the crash');
    await kit.stop();
    await kit.start();
    same(await kit.bus.deadLetters.redrive({ subscription: S }), 1, 'redriven while the handler is away');
    await kit.stop();
    const third = await failing(kit, { onDead: 'hold' });
    third.mend();
    await kit.until(() => third.ids().includes('a4'), 'the rest of the key');
    same(third.ids(), ['a1', 'a2', 'a3', 'a4'], 'the key, in order');
  }),

  conformanceCase('G7-11', "onDead 'hold' holds also when the last attempt was cut short by a crash", async (kit) => {
    const options = { onDead: 'hold', retry: fixed({ delayMs: 0, attemptsMax: 3 }) } as const;
    for (let life = 1; life <= 3; life++) {
      const { handler, calls } = recorder(kit, forever);
      await kit.start([handles(handler, options)]);
      if (life === 1) await kit.bus.publish(several(3, 'a', { key: 'a' }));
      await kit.until(() => calls.length === 1, 'the attempt');
      await kit.crash();
    }
    const { handler, ids } = recorder(kit);
    await kit.start([handles(handler, options)]);
    await kit.bus.publish(happened('b', { key: 'b' }));
    await kit.until(() => ids().includes('b'), 'another key');
    same(await positions(kit), [1], 'dead after three crashes');
    same(ids(), ['b'], 'handled while the key is held');
    await kit.bus.deadLetters.discard({ subscription: S, positions: [1] });
    await kit.until(() => ids().includes('a3'), 'the rest of the key');
    same(ids(), ['b', 'a2', 'a3'], 'handled');
  }),

  conformanceCase('G7-12', 'several dead letters of a key hold it until the last is settled', async (kit) => {
    const there = await failing(kit, { onDead: 'hold' });
    await kit.bus.publish([
      happened('ill-1', { key: 'k' }),
      happened('ill-2', { key: 'k' }),
      happened('well', { key: 'k' }),
    ]);
    same(await positions(kit), [1], 'the first is dead and the others wait');
    await kit.bus.deadLetters.discard({ subscription: S, positions: [1] });
    await kit.until(() => there.ids().length === 2, 'the second');
    same(await positions(kit), [2], 'then the second is');
    same(there.ids(), ['ill-1', 'ill-2'], 'attempts so far');
    there.mend();
    await kit.bus.deadLetters.redrive({ subscription: S });
    await kit.until(() => there.ids().includes('well'), 'the third');
    same(there.ids(), ['ill-1', 'ill-2', 'ill-2', 'well'], 'attempts');
  }),

  conformanceCase('G7-13', "deadLetter 'discard' counts the failure and keeps nothing", async (kit) => {
    const there = await failing(kit, { deadLetter: 'discard' });
    await kit.bus.publish([happened('ill', { key: 'k' }), happened('well', { key: 'k' })]);
    await kit.until(() => there.ids().includes('well'), 'the next of the key');
    same([await positions(kit), (await kit.state()).failed], [[], 1], 'dead letters, and failures counted');
  }),

  conformanceCase(
    'G7-14',
    'redriven while later events of its key are handled, it is never beside them',
    async (kit) => {
      let running = 0;
      let together = 0;
      let mended = false;
      const { handler, ids } = recorder(kit, async (event) => {
        together = Math.max(together, ++running);
        await new Promise<void>((resolve) => kit.clock.setTimer(10, resolve));
        running--;
        if (event.id === 'a1' && !mended) fail();
      });
      await kit.start([handles(handler, { retry: noRetry() })]);
      await kit.bus.publish(several(20, 'a', { key: 'a' }));
      await kit.advance(50);
      mended = true;
      await kit.bus.deadLetters.redrive({ subscription: S, positions: [1] });
      await kit.advance(1000);
      same([together, ids().length], [1, 21], 'at once, and attempts in all');
      same(
        ids().filter((id) => id !== 'a1'),
        several(20, 'a')
          .map(({ id }) => id)
          .slice(1),
        'the others, in order',
      );
    },
  ),

  conformanceCase(
    'G7-15',
    'several of one key redriven together: when the first fails again, the others wait behind it',
    async (kit) => {
      let ill: readonly string[] = ['a1', 'a2', 'a3'];
      const { handler, ids } = recorder(kit, (event) => (ill.includes(event.id) ? fail() : undefined));
      await kit.start([handles(handler, { retry: fixed({ delayMs: 1000, attemptsMax: 2 }) })]);
      await kit.bus.publish(several(4, 'a', { key: 'a' }));
      await kit.advance(10_000);
      same(await positions(kit), [1, 2, 3], 'dead');
      ill = ['a1'];
      await kit.bus.deadLetters.redrive({ subscription: S });
      await kit.settle();
      same(ids().slice(7), ['a1'], 'attempts after the redrive');
      ill = [];
      await kit.bus.publish(happened('a5', { key: 'a' }));
      await kit.advance(1000);
      await kit.until(() => ids().includes('a5'), 'the end of the key');
      same(ids().slice(7), ['a1', 'a1', 'a2', 'a3', 'a5'], 'attempts after the redrive');
    },
  ),

  conformanceCase(
    'G7-16',
    'a clean restart amid deliveries that waited behind a failed one keeps order and attempts',
    async (kit) => {
      const held = gate();
      const first = recorder(kit, async (event, { attempt }) => {
        if (event.id === 'a1' && attempt === 1) fail();
        if (event.id === 'a2') await held.opened;
      });
      const retry = fixed({ delayMs: 1000, attemptsMax: 3 });
      await kit.start([handles(first.handler, { retry })]);
      await kit.bus.publish(several(6, 'a', { key: 'a' }));
      await kit.advance(1000);
      await kit.until(() => first.ids().includes('a2'), 'the second, with the others in hand behind it');
      const stopping = kit.bus.stop();
      await kit.settle();
      held.open();
      await stopping;
      same(first.ids(), ['a1', 'a1', 'a2'], 'attempts before the restart');
      const second = recorder(kit, (event, { attempt }) => (event.id === 'a3' && attempt === 1 ? fail() : undefined));
      await kit.start([handles(second.handler, { retry })]);
      await kit.advance(5000);
      await kit.until(() => second.ids().includes('a6'), 'the end of the key');
      same(
        second.calls.map(({ id, attempt }) => [id, attempt]),
        [
          ['a3', 1],
          ['a3', 2],
          ['a4', 1],
          ['a5', 1],
          ['a6', 1],
        ],
        'attempts after the restart',
      );
    },
  ),

  conformanceCase('G7-17', 'redriven and discarded by several at once, each is settled by one of them', async (kit) => {
    const there = await failing(kit);
    await kit.bus.publish([happened('ill-1', { key: 'k' }), happened('ill-2', { key: 'k' })]);
    same(await positions(kit), [1, 2], 'dead');
    there.mend();
    const { deadLetters } = kit.bus;
    const counts = await Promise.all([
      deadLetters.redrive({ subscription: S }),
      deadLetters.redrive({ subscription: S }),
      deadLetters.discard({ subscription: S }),
    ]);
    same(counts, [2, 0, 0], 'settled by each');
    await kit.bus.publish(happened('well', { key: 'k' }));
    await kit.until(() => there.ids().includes('well'), 'the next of the key');
    same(there.ids(), ['ill-1', 'ill-2', 'ill-1', 'ill-2', 'well'], 'attempts');
  }),

  conformanceCase(
    'G7-18',
    'redriven or discarded in a process that does not hold it, a dead letter is so where it is held',
    async (kit) => {
      if (!kit.capabilities.shared) return refusesOthers(kit);
      const there = await failing(kit, { onDead: 'hold' });
      const events = ['ill-1', 'well-1', 'ill-2', 'well-2'];
      await kit.bus.publish(events.map((id, n) => happened(id, { key: n < 2 ? 'k' : 'l' })));
      same(await positions(kit), [1, 3], 'dead');
      const other = await kit.beside();
      same((await other.deadLetters.list()).length, 2, 'dead letters, as the other process lists them');
      there.mend();
      await other.deadLetters.redrive({ subscription: S, positions: [1] });
      await kit.until(() => there.ids().includes('well-1'), 'its key');
      await other.deadLetters.discard({ subscription: S });
      await kit.until(() => there.ids().includes('well-2'), 'what it held');
      same(there.ids(), ['ill-1', 'ill-2', 'ill-1', 'well-1', 'well-2'], 'attempts');
    },
    'shared',
  ),
];
