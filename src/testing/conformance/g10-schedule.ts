import { refused, same } from './check.ts';
import { conformanceCase, handles, happened, recorder, several, type ConformanceCase, type Kit } from './kit.ts';
import { refusesForeignTransactions, refusesOthers } from './refusals.ts';

const ids = async (kit: Kit): Promise<string[]> => (await kit.log()).map(({ id }) => id);

/** G10: delays and moments are durable, fire once, and have a stated rule for what was missed while down. */
export const g10: readonly ConformanceCase[] = [
  conformanceCase('G10-1', 'after a delay it is appended, and not before', async (kit) => {
    const { handler, calls } = recorder(kit);
    await kit.start([handles(handler)]);
    const startMs = kit.clock.now();
    const published = await kit.bus.publish(happened('e', { key: 'k' }), { delayMs: 10_000 });
    same(published, { id: 'e', position: null, duplicate: false, scheduledMs: startMs + 10_000 }, 'result');
    await kit.advance(9999);
    same(await ids(kit), [], 'the log before');
    await kit.advance(1);
    await kit.until(() => calls.length === 1, 'the delivery');
    same(calls[0]?.atMs, startMs + 10_000, 'the moment of its handling');
  }),

  conformanceCase('G10-2', 'at a moment given as number, Date or text; a past one means now', async (kit) => {
    await kit.start();
    const atMs = kit.clock.now() + 5000;
    for (const [id, at] of [
      ['number', atMs],
      ['date', new Date(atMs)],
      ['text', new Date(atMs).toISOString()],
    ] as const) {
      same((await kit.bus.publish(happened(id), { at })).scheduledMs, atMs, id);
    }
    await kit.bus.publish(happened('past'), { at: atMs - 100_000 });
    await kit.bus.publish(happened('zero'), { delayMs: 0 });
    await kit.advance(0);
    same((await ids(kit)).sort(), ['past', 'zero'], 'the log now');
    await kit.advance(5000);
    same((await ids(kit)).sort(), ['date', 'number', 'past', 'text', 'zero'], 'the log then');
  }),

  conformanceCase('G10-3', 'it outlives restarts and crashes, and fires once', async (kit) => {
    await kit.start();
    await kit.bus.publish(happened('restart'), { delayMs: 10_000 });
    await kit.stop();
    await kit.start();
    await kit.bus.publish(happened('crash'), { delayMs: 10_000 });
    await kit.crash();
    await kit.start();
    await kit.advance(9999);
    same(await ids(kit), [], 'the log before');
    await kit.advance(1);
    same((await ids(kit)).sort(), ['crash', 'restart'], 'the log then');
    await kit.crash();
    await kit.start();
    await kit.advance(100_000);
    same((await ids(kit)).sort(), ['crash', 'restart'], 'the log after another crash');
  }),

  conformanceCase(
    'G10-4',
    'what came due while nobody ran is appended at the next start, the earliest first',
    async (kit) => {
      await kit.start();
      await kit.bus.publish(happened('third'), { delayMs: 3000 });
      await kit.bus.publish(happened('first'), { delayMs: 1000 });
      await kit.bus.publish(happened('second'), { delayMs: 2000 });
      await kit.bus.publish(happened('later'), { delayMs: 600_000 });
      await kit.crash();
      await kit.advance(60_000);
      await kit.start();
      await kit.advance(0);
      same(await ids(kit), ['first', 'second', 'third'], 'the log after the start');
    },
  ),

  conformanceCase('G10-5', 'a crash at the moment it fires neither loses nor doubles it', async (kit) => {
    const events = several(20, 'e');
    await kit.start();
    for (const event of events) await kit.bus.publish(event, { delayMs: 1000 });
    await kit.stop();
    for (let life = 0; life < 4; life++) {
      await kit.start();
      // The timer runs, and the process dies before it has heard of the outcome.
      await Promise.race([kit.advance(1000), new Promise<void>((resolve) => kit.clock.setTimer(1000, resolve))]);
      await kit.crash();
    }
    await kit.start();
    await kit.advance(1000);
    same(
      await ids(kit),
      events.map(({ id }) => id),
      'the log, in the order of scheduling',
    );
  }),

  conformanceCase('G10-6', 'taken back it never fires; taking back what is not there tells so', async (kit) => {
    await kit.start();
    await kit.bus.publish(happened('e'), { delayMs: 1000 });
    await kit.bus.publish(happened('e', { source: '/other' }), { delayMs: 1000 });
    same(await kit.bus.cancelScheduled('/suite', 'e'), true, 'the first time');
    same(await kit.bus.cancelScheduled('/suite', 'e'), false, 'the second time');
    await kit.crash();
    await kit.start();
    await kit.advance(5000);
    same(
      (await kit.log()).map(({ source }) => source),
      ['/other'],
      'sources in the log',
    );
    same(await kit.bus.cancelScheduled('/other', 'e'), false, 'after it fired');
    same(
      (await kit.bus.publish(happened('e'), { delayMs: 1000 })).duplicate,
      false,
      'scheduled anew after it was taken back',
    );
  }),

  conformanceCase('G10-7', 'very many due at once all come, in order of their moments', async (kit) => {
    await kit.start();
    const events = several(1200, 'e');
    await Promise.all(events.map((event, index) => kit.bus.publish(event, { delayMs: 1000 + index })));
    await kit.stop();
    await kit.advance(10_000);
    await kit.start();
    await kit.advance(0);
    same(
      await ids(kit),
      events.map(({ id }) => id),
      'the log',
    );
  }),

  conformanceCase('G10-8', 'a schedule that cannot be is refused, a batch of them by name', async (kit) => {
    await kit.start();
    const { bus } = kit;
    for (const options of [
      { delayMs: -1 },
      { delayMs: Number.NaN },
      { delayMs: 1, at: 1 },
      { at: new Date(Number.NaN) },
    ]) {
      await refused('CARILLON_OPTION_INVALID', () => bus.publish(happened('e'), options), JSON.stringify(options));
    }
    await refused('CARILLON_SCHEDULED_IN_BATCH', () => bus.publish(several(2, 'e'), { delayMs: 1 }), 'a batch');
    await kit.advance(1000);
    same(await ids(kit), [], 'the log');
  }),

  conformanceCase('G10-9', 'scheduled far ahead it waits: timers have no end', async (kit) => {
    const yearsMs = 3 * 365 * 24 * 3_600_000;
    await kit.start();
    await kit.bus.publish(happened('far'), { delayMs: yearsMs });
    await kit.bus.publish(happened('near'), { delayMs: 1000 });
    await kit.advance(yearsMs - 1);
    same(await ids(kit), ['near'], 'the log before');
    await kit.advance(1);
    same(await ids(kit), ['near', 'far'], 'the log then');
  }),

  conformanceCase('G10-10', 'a revision cannot be expected of what is scheduled: it is refused', async (kit) => {
    await kit.start();
    const options = { delayMs: 1000, expectedRevision: 'none' } as const;
    await refused(
      'CARILLON_OPTION_INVALID',
      () => kit.bus.publish(happened('e', { key: 's' }), options),
      'both at once',
    );
    await kit.advance(1000);
    same(await ids(kit), [], 'the log');
  }),

  conformanceCase(
    'G10-11',
    'scheduled in a process that dies, an event fires once, whoever is there',
    async (kit) => {
      if (!kit.capabilities.shared) return refusesOthers(kit);
      const { handler, ids } = recorder(kit);
      await kit.start([handles(handler)]);
      const second = await kit.beside();
      await kit.beside();
      await second.publish(happened('later'), { delayMs: 1000 });
      await kit.kill(second);
      await kit.advance(999);
      same(ids(), [], 'before its time');
      await kit.advance(1);
      // Nobody has told the others: they come to see it for themselves.
      await kit.until(() => ids().length > 0, 'the event');
      await kit.settle();
      same(ids(), ['later'], 'handled');
      same((await kit.log()).length, 1, 'events in the log');
    },
    'shared',
  ),

  conformanceCase(
    'G10-12',
    'scheduled in a transaction of the application, an event is due if that commits',
    async (kit) => {
      if (!kit.capabilities.outbox) return refusesForeignTransactions(kit);
      const { handler, ids } = recorder(kit);
      await kit.start([handles(handler)]);
      const good = await kit.transaction();
      const bad = await kit.transaction();
      const told = await kit.bus.publish(happened('later'), { tx: good.tx, delayMs: 1000 });
      same(told.scheduledMs, kit.clock.now() + 1000, 'when it is due');
      await kit.bus.publish(happened('never'), { tx: bad.tx, delayMs: 1000 });
      await good.commit();
      await bad.rollback();
      await kit.advance(999);
      same(ids(), [], 'before its time');
      await kit.advance(1);
      await kit.until(() => ids().length > 0, 'the event');
      await kit.advance(10_000);
      same(ids(), ['later'], 'handled');
    },
    'outbox',
  ),
];
