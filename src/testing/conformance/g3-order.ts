import { defineModule, fixed, noRetry, type Bus, type Module } from '../../core/index.ts';
import { realTurn } from '../fake-clock.ts';
import { holds, same } from './check.ts';
import {
  conformanceCase,
  fail,
  forever,
  gate,
  handles,
  handlesBatches,
  happened,
  recorder,
  several,
  type ConformanceCase,
} from './kit.ts';
import { refusesOthers } from './refusals.ts';

const BACKLOG = 5000;

/** G3: deliveries of one key come in publish order, one at a time; unrelated keys run in parallel. */
export const g3: readonly ConformanceCase[] = [
  conformanceCase('G3-1', 'one key in order and one at a time, other keys beside it', async (kit) => {
    const held = gate();
    let running = 0;
    let together = 0;
    const { handler, ids } = recorder(kit, async (event) => {
      if (event.subject !== 'slow') return;
      together = Math.max(together, ++running);
      await held.opened;
      running--;
    });
    await kit.start([handles(handler)]);
    await kit.bus.publish([...several(5, 's', { key: 'slow' }), ...several(5, 'f', { key: 'fast' })]);
    await kit.until(() => ids().filter((id) => id.startsWith('f')).length === 5, 'the fast key');
    same(
      ids().filter((id) => id.startsWith('s')),
      ['s1'],
      'of the slow key, while its first is running',
    );
    held.open();
    await kit.bus.drain();
    same(
      ids().filter((id) => id.startsWith('s')),
      ['s1', 's2', 's3', 's4', 's5'],
      'the slow key',
    );
    same(
      ids().filter((id) => id.startsWith('f')),
      ['f1', 'f2', 'f3', 'f4', 'f5'],
      'the fast key',
    );
    same(together, 1, 'of one key at once');
  }),

  conformanceCase('G3-2', 'a failing event holds back its own key until it is settled, and no other', async (kit) => {
    const { handler, calls, ids } = recorder(kit, (event, context) => {
      if (event.id === 'a1' && context.attempt < 4) fail();
    });
    await kit.start([handles(handler, { retry: fixed({ delayMs: 1000, attemptsMax: 4 }) })]);
    await kit.bus.publish([...several(4, 'a', { key: 'a' }), ...several(4, 'b', { key: 'b' }), ...several(2, 'free')]);
    await kit.advance(2999);
    await kit.bus.publish([happened('a5', { key: 'a' }), happened('b5', { key: 'b' })]);
    await kit.until(() => ids().includes('b5'), 'the other key');
    same(
      ids().filter((id) => id.startsWith('a')),
      ['a1', 'a1', 'a1'],
      'of the failing key',
    );
    same(
      ids().filter((id) => id.startsWith('b')),
      ['b1', 'b2', 'b3', 'b4', 'b5'],
      'of the other key',
    );
    await kit.advance(1);
    await kit.bus.drain();
    await kit.until(() => ids().includes('a5'), 'the rest of the key');
    same(
      ids()
        .filter((id) => id.startsWith('a'))
        .slice(3),
      ['a1', 'a2', 'a3', 'a4', 'a5'],
      'the key goes on, in order',
    );
    same(
      calls.filter(({ id, attempt }) => id !== 'a1' && attempt > 1),
      [],
      'attempts of those that waited',
    );
  }),

  conformanceCase('G3-3', 'after the last attempt the key goes on without the dead one', async (kit) => {
    const { handler, ids } = recorder(kit, (event) => (event.id === 'a1' ? fail() : undefined));
    await kit.start([handles(handler, { retry: noRetry() })]);
    await kit.bus.publish(several(3, 'a', { key: 'a' }));
    await kit.bus.drain();
    await kit.until(() => ids().length === 3, 'the key');
    same(ids(), ['a1', 'a2', 'a3'], 'handled');
  }),

  conformanceCase('G3-4', 'a key held back stays so over a crash, with all that waits behind it', async (kit) => {
    const options = { retry: fixed({ delayMs: 60_000 }) };
    const first = recorder(kit, (event) => (event.id === 'a1' ? fail() : undefined));
    await kit.start([handles(first.handler, options)]);
    await kit.bus.publish([...several(5, 'a', { key: 'a' }), happened('b1', { key: 'b' })]);
    await kit.until(() => first.ids().includes('b1') && first.ids().includes('a1'), 'the first attempts');
    await kit.settle();
    same(
      first.ids().filter((id) => id.startsWith('a')),
      ['a1'],
      'of the key before the crash',
    );
    await kit.crash();
    const second = recorder(kit);
    await kit.start([handles(second.handler, options)]);
    await kit.bus.publish([happened('a6', { key: 'a' }), happened('c1', { key: 'c' })]);
    await kit.until(() => second.ids().includes('c1'), 'another key');
    await kit.settle();
    same(
      second.ids().filter((id) => id.startsWith('a')),
      [],
      'of the key while it waits',
    );
    await kit.advance(60_000);
    await kit.until(() => second.ids().includes('a6'), 'the end of the key');
    same(
      second.ids().filter((id) => id.startsWith('a')),
      ['a1', 'a2', 'a3', 'a4', 'a5', 'a6'],
      'the key, in order',
    );
  }),

  conformanceCase(
    'G3-5',
    `a backlog of ${BACKLOG} events behind a failing one waits on disk, and comes in order`,
    async (kit) => {
      let mended = false;
      const { handler, ids } = recorder(kit, (event) => (event.id === 'k1' && !mended ? fail() : undefined));
      const limits = { readAheadMax: 100 };
      await kit.start([handles(handler, { retry: fixed({ delayMs: 1000, attemptsMax: Infinity }) })], { limits });
      const events = several(BACKLOG, 'k', { key: 'k' });
      for (let from = 0; from < BACKLOG; from += 500) await kit.bus.publish(events.slice(from, from + 500));
      await kit.bus.publish(happened('other', { key: 'other' }));
      await kit.until(() => ids().includes('other'), 'another key, published last');
      const { running, waiting, held } = await kit.state();
      holds(running + waiting <= limits.readAheadMax, `in memory: ${running} running and ${waiting} waiting`);
      same(held, BACKLOG - 1, 'deliveries held on disk');
      mended = true;
      await kit.advance(1000);
      await kit.until(() => ids().at(-1) === `k${BACKLOG}`, 'the last of the backlog');
      const ofKey = ids().filter((id) => id !== 'other');
      const attemptsOfFirst = ofKey.lastIndexOf('k1');
      same(
        ofKey.slice(attemptsOfFirst),
        events.map(({ id }) => id),
        'the key, in order',
      );
      await kit.settle();
      same((await kit.state()).held, 0, 'held in the end');
    },
  ),

  conformanceCase(
    'G3-6',
    'partitionkey is the key before subject, and events without one stand for themselves',
    async (kit) => {
      const { handler, ids } = recorder(kit, forever);
      await kit.start([handles(handler)]);
      await kit.bus.publish([
        happened('p1', { partitionkey: 'p', key: 's1' }),
        happened('p2', { partitionkey: 'p', key: 's2' }),
        happened('s1', { key: 's1' }),
        happened('s1-again', { key: 's1' }),
        happened('n1'),
        happened('n2'),
      ]);
      await kit.until(() => ids().length >= 4, 'one of each');
      await kit.settle();
      same(ids(), ['p1', 's1', 'n1', 'n2'], 'started while all hang');
    },
  ),

  conformanceCase('G3-7', 'order none: whatever the key, as many at once as concurrency allows', async (kit) => {
    const { handler, ids } = recorder(kit, forever);
    await kit.start([handles(handler, { order: 'none', concurrency: 4 })]);
    await kit.bus.publish(several(6, 'e', { key: 'k' }));
    await kit.until(() => ids().length >= 4, 'four at once');
    await kit.settle();
    same(ids(), ['e1', 'e2', 'e3', 'e4'], 'started while all hang');
  }),

  conformanceCase('G3-8', 'order none: concurrency.perKey bounds each key by itself', async (kit) => {
    const held = gate();
    const { handler, ids } = recorder(kit, () => held.opened);
    await kit.start([handles(handler, { order: 'none', concurrency: { all: 10, perKey: 2 } })]);
    await kit.bus.publish([...several(4, 'a', { key: 'a' }), ...several(4, 'b', { key: 'b' }), ...several(2, 'n')]);
    await kit.until(() => ids().length >= 6, 'two of each key, and those without one');
    await kit.settle();
    same(ids().sort(), ['a1', 'a2', 'b1', 'b2', 'n1', 'n2'], 'started while all hang');
    held.open();
    await kit.bus.drain();
    same(ids().length, 10, 'handled in the end');
  }),

  conformanceCase('G3-9', 'order none: a failing event holds back nothing', async (kit) => {
    const { handler, ids } = recorder(kit, (event) => (event.id === 'e1' ? fail() : undefined));
    await kit.start([handles(handler, { order: 'none', retry: fixed({ delayMs: 60_000 }) })]);
    await kit.bus.publish(several(4, 'e', { key: 'k' }));
    await kit.until(() => ids().length >= 4, 'all');
    same(ids(), ['e1', 'e2', 'e3', 'e4'], 'started');
  }),

  conformanceCase(
    'G3-10',
    'order total: one at a time over all keys, and a failing one holds back all',
    async (kit) => {
      const { handler, ids } = recorder(kit, (event, context) => {
        if (event.id === 'e2' && context.attempt === 1) fail();
      });
      await kit.start([handles(handler, { order: 'total', retry: fixed({ delayMs: 1000 }) })]);
      for (const event of several(5, 'e')) await kit.bus.publish(happened(event.id, { key: `of-${event.id}` }));
      await kit.advance(999);
      same(ids(), ['e1', 'e2'], 'while the second waits for its retry');
      await kit.advance(1);
      await kit.until(() => ids().includes('e5'), 'the rest');
      same(ids(), ['e1', 'e2', 'e2', 'e3', 'e4', 'e5'], 'attempts');
    },
  ),

  conformanceCase('G3-11', 'a key keeps its order within batches and over a batch that failed', async (kit) => {
    const handled: string[] = [];
    let failures = 2;
    const act = (events: readonly { id: string }[]): void => {
      if (events.some(({ id }) => id === 'a2') && failures-- > 0) fail();
      handled.push(...events.map(({ id }) => id));
    };
    await kit.start([handlesBatches(act, { batch: { size: 4 }, retry: fixed({ delayMs: 100 }) })]);
    const mixed = [1, 2, 3, 4, 5].flatMap((n) => ['a', 'b'].map((key) => happened(`${key}${n}`, { key })));
    await kit.bus.publish(mixed);
    await kit.advance(10_000);
    await kit.until(() => handled.length >= 10, 'all');
    for (const key of ['a', 'b']) {
      same(
        handled.filter((id) => id.startsWith(key)),
        [1, 2, 3, 4, 5].map((n) => `${key}${n}`),
        `key ${key}`,
      );
    }
  }),

  conformanceCase('G3-12', 'order holds over a crash in the midst of many keys', async (kit) => {
    const keys = ['a', 'b', 'c', 'd'];
    const events = Array.from({ length: 40 }, (_, n) =>
      happened(`${keys[n % 4]}${Math.floor(n / 4)}`, { key: keys[n % 4] as string }),
    );
    const first = recorder(kit, (event) => (event.id === 'b4' || event.id === 'd2' ? forever() : undefined));
    await kit.start([handles(first.handler)]);
    await kit.bus.publish(events);
    await kit.until(() => first.ids().includes('a9') && first.ids().includes('c9'), 'the keys that do not hang');
    await kit.crash();
    const second = recorder(kit);
    await kit.start([handles(second.handler)]);
    await kit.bus.drain();
    for (const key of keys) {
      const again = second.ids().filter((id) => id.startsWith(key));
      same(again, [...again].sort(), `key ${key} after the crash`);
    }
    same(
      second.ids().filter((id) => id.startsWith('b')),
      ['b4', 'b5', 'b6', 'b7', 'b8', 'b9'],
      'key b goes on where it was',
    );
    same(new Set([...first.ids(), ...second.ids()]).size, 40, 'events handled in all');
  }),

  conformanceCase(
    'G3-13',
    'each subscription keeps its own order: a key held back in one goes on in another',
    async (kit) => {
      const well = recorder(kit);
      const ill = recorder(kit, () => fail());
      const module = defineModule('suite', (m) => {
        m.handle('>', ill.handler, { name: 'ill', retry: fixed({ delayMs: 60_000 }) });
        m.handle('>', well.handler, { name: 'h' });
      });
      await kit.start([module]);
      await kit.bus.publish(several(3, 'e', { key: 'k' }));
      await kit.until(() => well.calls.length === 3 && ill.calls.length === 1, 'both');
      same([well.ids(), ill.ids()], [['e1', 'e2', 'e3'], ['e1']], 'attempts');
    },
  ),

  conformanceCase(
    'G3-14',
    'order of each key holds, without a loss or a double, while processes that share a subscription come and go',
    async (kit) => {
      if (!kit.capabilities.shared) return refusesOthers(kit);
      const keys = Array.from({ length: 12 }, (_, n) => `k${n}`);
      const handled: string[] = [];
      const running = new Set<string>();
      let published = 0;
      let wanted = 0;
      const shared = (): Module =>
        handles(async ({ id, subject }) => {
          holds(!running.has(subject as string), `one of key ${subject} at a time`);
          running.add(subject as string);
          await realTurn();
          running.delete(subject as string);
          handled.push(id);
        });
      const publish = async (bus: Bus): Promise<void> => {
        const events = [0, 1, 2].flatMap(() => {
          published++;
          return keys.map((key) => happened(`${key}-${published}`, { key }));
        });
        wanted += events.length;
        await bus.publish(events);
      };
      await kit.start([shared()]);
      for (let round = 0; round < 3; round++) {
        await publish(kit.bus);
        const [second] = await Promise.all([kit.beside([shared()]), publish(kit.bus)]);
        const [third] = await Promise.all([kit.beside([shared()]), publish(second)]);
        await Promise.all([publish(kit.bus), publish(third)]);
        await Promise.all([kit.leave(second), publish(third)]);
        await Promise.all([kit.leave(third), publish(kit.bus)]);
      }
      await kit.until(() => handled.length >= wanted, 'all');
      await kit.settle();
      const log = (await kit.log()).map(({ id }) => id);
      for (const key of keys) {
        const ofKey = (ids: readonly string[]): string[] => ids.filter((id) => id.startsWith(`${key}-`));
        same(ofKey(handled), ofKey(log), `key ${key}`);
      }
      same(handled.length, wanted, 'events handled');
    },
    'shared',
  ),

  conformanceCase(
    'G3-15',
    'total order holds across processes: one of them handles, the next takes over where it was',
    async (kit) => {
      if (!kit.capabilities.shared) return refusesOthers(kit);
      const handled: string[] = [];
      const by: number[] = [];
      let running = 0;
      const total = (process: number): Module =>
        handles(
          async ({ id }) => {
            holds(++running === 1, 'one at a time, wherever');
            await realTurn();
            running--;
            handled.push(id);
            by.push(process);
          },
          { order: 'total' },
        );
      await kit.start([total(0)]);
      const second = await kit.beside([total(1)]);
      for (let n = 0; n < 30; n++) {
        await Promise.all([kit.bus.publish(happened(`a${n}`)), second.publish(happened(`b${n}`))]);
      }
      await kit.until(() => handled.length === 60, 'all, by one');
      same(new Set(by).size, 1, 'processes that handled');
      const [first] = by;
      if (first === 0) await kit.stop();
      else await kit.leave(second);
      const other = first === 0 ? second : kit.bus;
      await other.publish(several(20, 'c'));
      await kit.until(() => handled.length === 80, 'what came after');
      same(new Set(by.slice(60)), new Set([first === 0 ? 1 : 0]), 'processes that handled after the first had left');
      const log: string[] = [];
      for await (const { event } of other.read()) log.push(event.id);
      same(handled, log, 'handled, in the order of the log');
    },
    'shared',
  ),
];
