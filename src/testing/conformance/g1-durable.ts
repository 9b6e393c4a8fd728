import { defaultLimits, silentLogger, type Clock } from '../../core/index.ts';
import type { Engine } from '../../engine/index.ts';
import { refused, same } from './check.ts';
import { conformanceCase, happened, several, type ConformanceCase, type Kit } from './kit.ts';

/** G1: `publish` resolves after the event is as durable as the engine promises. */
export const g1: readonly ConformanceCase[] = [
  conformanceCase('G1-1', 'what publish resolved for is there after a crash, in its place', async (kit) => {
    await kit.start();
    const published = await Promise.all(several(50, 'e', { key: 'k' }).map((event) => kit.bus.publish(event)));
    await kit.crash();
    await kit.start();
    const found: [string, number][] = [];
    for await (const { event, position } of kit.bus.read()) found.push([event.id, position]);
    same(
      found,
      published.map(({ id, position }) => [id, position]),
      'the log after the crash',
    );
  }),

  conformanceCase('G1-2', 'an event comes back as it was published, attribute by attribute', async (kit) => {
    const events = [
      happened('full', {
        key: 'subject',
        time: '2026-01-02T03:04:05.678+09:00',
        dataschema: 'https://example.com/schema',
        partitionkey: 'partition',
        sequence: '0001',
        expirytime: '2030-01-01T00:00:00Z',
        recordedtime: '2026-01-01T00:00:00Z',
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        correlationid: 'c1',
        causationid: 'c0',
        flag: true,
        count: -5,
        note: 'ünï \u{1F514} "quoted"',
        data: { text: '\u{1F514}', list: [1, 2.5, null, { deep: [] }], 'a key': true },
      }),
      happened('bytes', { datacontenttype: 'application/octet-stream', data: Uint8Array.of(0, 1, 254, 255) }),
      happened('text', { datacontenttype: 'text/plain', data: 'plain' }),
      happened('zero', { data: 0 }),
      happened('null', { data: null }),
      happened('none', { data: undefined }),
    ];
    await kit.start();
    for (const event of events) await kit.bus.publish(event);
    await kit.crash();
    await kit.start();
    same(await kit.log(), events, 'the log after the crash');
    same(
      (await kit.log()).map((event) => [event.id, event.data === undefined, event.data instanceof Uint8Array]),
      events.map((event) => [event.id, event.data === undefined, event.data instanceof Uint8Array]),
      'kinds of data',
    );
  }),

  conformanceCase(
    'G1-3',
    'the order of calls of publish is the order of positions, also over restarts',
    async (kit) => {
      const positions: (number | null)[] = [];
      for (let round = 1; round <= 3; round++) {
        await kit.start();
        const all = await Promise.all(several(20, `r${round}-`).map((event) => kit.bus.publish(event)));
        positions.push(...all.map(({ position }) => position));
        await (round === 1 ? kit.crash() : kit.stop());
      }
      same(
        positions,
        [...new Set(positions)].sort((a, b) => (a as number) - (b as number)),
        'positions, which rise and are never given twice',
      );
    },
  ),

  conformanceCase(
    'G1-4',
    'the engine declares its capabilities, and who opens its place a second time shares it or is refused',
    async (kit) => {
      await kit.start();
      const second = kit.place.open();
      same(second.capabilities, kit.capabilities, 'capabilities');
      if (kit.capabilities.shared) {
        await open(second, kit);
        await kit.bus.publish(happened('seen'));
        const { events } = await second.readPage({ after: 0, limit: 10 });
        same(
          events.map(({ event }) => event.id),
          ['seen'],
          'events of the second one',
        );
        return second.close();
      }
      await refused(
        'CARILLON_DIRECTORY_LOCKED',
        () => open(second, kit),
        'a second engine on the place of a running one',
      );
      same((await kit.bus.health()).status, 'ready', 'the first one');
      await kit.bus.publish(happened('still'));
      same((await kit.log()).length, 1, 'events of the first one');
    },
  ),

  conformanceCase(
    'G1-5',
    'the moment at which the log took an event never falls, though the clock is set back',
    async (kit) => {
      await kit.start();
      await kit.bus.publish(happened('before'));
      await kit.stop();
      // A clock an hour behind: `recordedMs` stays where it was until time has caught up.
      const behind: Clock = {
        now: () => kit.clock.now() - 3_600_000,
        monotonic: () => kit.clock.monotonic(),
        setTimer: (delayMs, run) => kit.clock.setTimer(delayMs, run),
        defer: (run) => kit.clock.defer(run),
      };
      await kit.start([], { clock: behind });
      await kit.bus.publish(happened('after'));
      const moments: number[] = [];
      for await (const { recordedMs } of kit.bus.read()) moments.push(recordedMs);
      same(moments, [kit.clock.now(), kit.clock.now()], 'recorded moments');
    },
  ),
];

async function open(engine: Engine, { clock }: Kit): Promise<void> {
  await engine.open({
    clock,
    limits: defaultLimits,
    log: silentLogger,
    onFailure: ignored,
    onStorageFull: ignored,
    onUnreachable: ignored,
    onAnswer: ignored,
  });
}

const ignored = (): void => undefined;
