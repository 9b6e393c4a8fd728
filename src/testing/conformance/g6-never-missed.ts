import { defineModule, type HandlerOptions, type StartFrom } from '../../core/index.ts';
import { refused, same } from './check.ts';
import { conformanceCase, handles, happened, recorder, several, type ConformanceCase, type Kit } from './kit.ts';
import { refusesOthers } from './refusals.ts';

/** What a handler that starts so sees of `e1`..`e4`, which came at intervals of a second, and of `e5`, which comes now. */
async function seenFrom(kit: Kit, from: StartFrom | undefined): Promise<string[]> {
  const { handler, ids } = recorder(kit);
  const options: HandlerOptions = from === undefined ? {} : { from };
  await kit.start();
  for (const event of several(4, 'e')) {
    await kit.bus.publish(event);
    await kit.advance(1000);
  }
  await kit.bus.subscribe('>', handler, { name: 'late', order: 'total', ...options });
  await kit.bus.publish(happened('e5'));
  await kit.bus.drain();
  return ids();
}

/** G6: a subscription starts at the beginning, now, a time or a position; what came before it can be had. */
export const g6: readonly ConformanceCase[] = [
  conformanceCase('G6-1', 'from the beginning: a handler that comes late misses nothing', async (kit) => {
    same(await seenFrom(kit, 'beginning'), ['e1', 'e2', 'e3', 'e4', 'e5'], 'seen');
  }),

  conformanceCase('G6-2', 'from now, which is the default: only what comes after', async (kit) => {
    same(await seenFrom(kit, undefined), ['e5'], 'seen');
  }),

  conformanceCase('G6-3', 'from a position, that one included', async (kit) => {
    same(await seenFrom(kit, { position: 3 }), ['e3', 'e4', 'e5'], 'seen');
  }),

  conformanceCase('G6-4', 'from a time, that moment included', async (kit) => {
    const startMs = kit.clock.now();
    same(await seenFrom(kit, { timeMs: startMs + 2000 }), ['e3', 'e4', 'e5'], 'seen');
  }),

  conformanceCase('G6-5', 'from a time between two events, before the first and after the last', async (kit) => {
    const startMs = kit.clock.now();
    same(await seenFrom(kit, { timeMs: startMs + 2001 }), ['e4', 'e5'], 'seen');
    const all = recorder(kit);
    const none = recorder(kit);
    await kit.bus.subscribe('>', all.handler, { name: 'all', from: { timeMs: 0 }, order: 'total' });
    await kit.bus.subscribe('>', none.handler, { name: 'none', from: { timeMs: startMs + 1_000_000 } });
    await kit.bus.drain();
    same([all.ids(), none.ids()], [['e1', 'e2', 'e3', 'e4', 'e5'], []], 'seen');
  }),

  conformanceCase('G6-6', 'from a position beyond the end: nothing until the log gets there', async (kit) => {
    const { handler, ids } = recorder(kit);
    await kit.start();
    await kit.bus.publish(several(2, 'e'));
    await kit.bus.subscribe('>', handler, { name: 'ahead', from: { position: 5 }, order: 'total' });
    for (const event of several(4, 'f')) await kit.bus.publish(event);
    await kit.bus.drain();
    same(ids(), ['f3', 'f4'], 'positions 5 and 6');
  }),

  conformanceCase('G6-7', 'restarted, a subscription goes on where it was, whatever `from` says now', async (kit) => {
    const lives: string[][] = [];
    const starts: StartFrom[] = ['now', 'beginning', 'now', { position: 1 }];
    for (const [life, from] of starts.entries()) {
      const { handler, ids } = recorder(kit);
      await kit.start([handles(handler, { from, order: 'total' })]);
      await kit.bus.publish(several(2, `l${life}-`));
      await kit.bus.drain();
      await kit.stop();
      // What comes while the handler is away waits for it.
      await kit.start();
      await kit.bus.publish(happened(`between${life}`));
      await kit.stop();
      lives.push(ids());
    }
    same(
      lives,
      [
        ['l0-1', 'l0-2'],
        ['between0', 'l1-1', 'l1-2'],
        ['between1', 'l2-1', 'l2-2'],
        ['between2', 'l3-1', 'l3-2'],
      ],
      'handled in each life',
    );
  }),

  conformanceCase('G6-8', 'stopped and subscribed again on the running bus, it goes on where it was', async (kit) => {
    const first = recorder(kit);
    const second = recorder(kit);
    await kit.start();
    const handle = await kit.bus.subscribe('>', first.handler, { name: 's', order: 'total' });
    await kit.bus.publish(happened('a'));
    await kit.bus.drain();
    await refused(
      'CARILLON_SUBSCRIPTION_CONFLICT',
      () => kit.bus.subscribe('>', second.handler, { name: 's' }),
      'a second opener of the running subscription',
    );
    await handle.stop();
    await kit.bus.publish(happened('b'));
    await kit.bus.subscribe('>', second.handler, { name: 's', order: 'total' });
    await kit.bus.publish(happened('c'));
    await kit.bus.drain();
    same([first.ids(), second.ids()], [['a'], ['b', 'c']], 'handled');
  }),

  conformanceCase('G6-9', 'a start that cannot be is refused by name', async (kit) => {
    await kit.start();
    for (const from of [{ position: -1 }, { position: 1.5 }, { timeMs: Number.NaN }, 'yesterday'] as StartFrom[]) {
      await refused(
        'CARILLON_OPTION_INVALID',
        () => kit.bus.subscribe('>', () => undefined, { name: 's', from }),
        `from ${JSON.stringify(from)}`,
      );
    }
  }),

  conformanceCase('G6-13', 'from position 0 is from the beginning, also after a restart', async (kit) => {
    const first = recorder(kit);
    const second = recorder(kit);
    await kit.start([handles(first.handler, { from: { position: 0 }, order: 'total' })]);
    await kit.bus.publish(several(2, 'a'));
    await kit.bus.drain();
    await kit.stop();
    await kit.start();
    await kit.bus.publish(happened('b'));
    await kit.stop();
    await kit.start([handles(second.handler, { from: { position: 0 }, order: 'total' })]);
    await kit.bus.drain();
    same([first.ids(), second.ids()], [['a1', 'a2'], ['b']], 'handled');
    await kit.stop();
    await kit.start([
      defineModule('never', (m) => m.handle('no.such', () => undefined, { name: 'h', from: { position: 0 } })),
    ]);
    await kit.stop();
    await kit.start([defineModule('never', (m) => m.handle('no.such', () => undefined, { name: 'h' }))]);
  }),

  conformanceCase(
    'G6-10',
    'a handler far behind reads the log from the disk, in order, and misses nothing',
    async (kit) => {
      const count = 6000;
      const { handler, ids } = recorder(kit);
      await kit.start();
      const events = several(count, 'e');
      for (let from = 0; from < count; from += 1000) await kit.bus.publish(events.slice(from, from + 1000));
      await kit.bus.subscribe('>', handler, { name: 'late', from: 'beginning', order: 'total' });
      await kit.bus.publish(happened('last'));
      await kit.bus.drain();
      same(ids(), [...events.map(({ id }) => id), 'last'], 'handled');
    },
  ),

  conformanceCase(
    'G6-11',
    'reading: pages and ranges by position, type, pattern, subject, time and filter',
    async (kit) => {
      await kit.start();
      const startMs = kit.clock.now();
      for (const [n, type] of ['a.x', 'a.y', 'b.x', 'a.x', 'a.x.z'].entries()) {
        await kit.bus.publish(happened(`e${n + 1}`, { type, key: n % 2 === 0 ? 'even' : 'odd' }));
        await kit.advance(1000);
      }
      const read = async (query: Parameters<typeof kit.bus.read>[0]): Promise<string[]> => {
        const ids: string[] = [];
        for await (const { event } of kit.bus.read(query)) ids.push(event.id);
        return ids;
      };
      same(await read({}), ['e1', 'e2', 'e3', 'e4', 'e5'], 'everything');
      same(await read({ after: 2 }), ['e3', 'e4', 'e5'], 'after');
      same(await read({ after: 1, upTo: 3 }), ['e2', 'e3'], 'upTo');
      same(await read({ type: 'a.x' }), ['e1', 'e4'], 'type');
      same(await read({ type: 'a.>' }), ['e1', 'e2', 'e4', 'e5'], 'pattern');
      same(await read({ subject: 'odd' }), ['e2', 'e4'], 'subject');
      same(await read({ sinceMs: startMs + 1000, untilMs: startMs + 3000 }), ['e2', 'e3'], 'since and until');
      same(await read({ filter: { suffix: { type: '.x' } } }), ['e1', 'e3', 'e4'], 'filter');
      same(await read({ limit: 2 }), ['e1', 'e2'], 'limit');
      same(await read({ after: 99 }), [], 'after the end');
      const page = await kit.bus.readPage({ limit: 2, type: 'a.>' });
      same([page.events.map(({ event }) => event.id), page.next], [['e1', 'e2'], 2], 'a page');
      same((await kit.bus.readPage({ after: 4 })).next, null, 'the last page');
      same(await kit.bus.ends(), { first: 1, last: 5 }, 'ends');
      await refused('CARILLON_POSITION_INVALID', () => kit.bus.readPage({ after: -1 }), 'a negative position');
    },
  ),

  conformanceCase('G6-12', 'following the log: what is there, then what comes, without a gap', async (kit) => {
    await kit.start();
    await kit.bus.publish(several(3, 'a'));
    const seen: string[] = [];
    const ending = new AbortController();
    const following = (async (): Promise<void> => {
      for await (const { event } of kit.bus.follow({ after: 1 }, ending.signal)) seen.push(event.id);
    })();
    for (const event of several(3, 'b')) await kit.bus.publish(event);
    await kit.until(() => seen.length >= 5, 'all of them');
    await kit.bus.publish(happened('c'));
    await kit.until(() => seen.length >= 6, 'one more');
    ending.abort();
    await following;
    same(seen, ['a2', 'a3', 'b1', 'b2', 'b3', 'c'], 'followed');
  }),

  conformanceCase(
    'G6-14',
    'what another process appends reaches a handler here, and who follows the log, in order and without a gap',
    async (kit) => {
      if (!kit.capabilities.shared) return refusesOthers(kit);
      const { handler, ids } = recorder(kit);
      await kit.start([handles(handler, { order: 'total' })]);
      const other = await kit.beside();
      const followed: string[] = [];
      const ending = new AbortController();
      const following = (async () => {
        for await (const { event } of kit.bus.follow({}, ending.signal)) followed.push(event.id);
      })();
      for (let n = 0; n < 100; n++) {
        await Promise.all([kit.bus.publish(happened(`here${n}`)), other.publish(happened(`there${n}`))]);
      }
      await kit.until(() => ids().length === 200 && followed.length === 200, 'all');
      ending.abort();
      await following;
      const log = (await kit.log()).map(({ id }) => id);
      same(ids(), log, 'handled');
      same(followed, log, 'followed');
    },
    'shared',
  ),
];
