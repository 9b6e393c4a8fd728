import { same } from './check.ts';
import { conformanceCase, handles, happened, recorder, several, type ConformanceCase } from './kit.ts';
import { refusesForeignTransactions, refusesOthers } from './refusals.ts';

/** G4: the same `(source, id)` published again is one event; the second caller gets the first one's position. */
export const g4: readonly ConformanceCase[] = [
  conformanceCase(
    'G4-1',
    'an event published again is not stored again, and resolves with the first position',
    async (kit) => {
      const { handler, ids } = recorder(kit);
      await kit.start([handles(handler)]);
      const first = await kit.bus.publish(happened('e'));
      const again = await kit.bus.publish(happened('e', { data: 'other data' }));
      same([first.duplicate, again], [false, { ...first, duplicate: true }], 'results');
      await kit.bus.drain();
      same(ids(), ['e'], 'handled');
      same(
        (await kit.log()).map(({ data }) => data),
        [{ id: 'e' }],
        'the log keeps the first',
      );
    },
  ),

  conformanceCase('G4-2', 'of many published at once with one id, one is stored', async (kit) => {
    await kit.start();
    const all = await Promise.all(Array.from({ length: 20 }, () => kit.bus.publish(happened('e'))));
    same(
      all.map(({ position }) => position),
      all.map(() => all[0]?.position),
      'positions',
    );
    same(
      all.map(({ duplicate }) => duplicate),
      all.map((_, index) => index > 0),
      'duplicates',
    );
    same((await kit.log()).length, 1, 'events in the log');
  }),

  conformanceCase('G4-3', 'within a batch, and between batches', async (kit) => {
    await kit.start();
    const first = await kit.bus.publish([happened('a'), happened('b'), happened('a')]);
    same(
      first.map(({ duplicate }) => duplicate),
      [false, false, true],
      'the first batch',
    );
    same(first[2]?.position, first[0]?.position, 'the position of the one given twice');
    const second = await kit.bus.publish([happened('b'), happened('c')]);
    same(
      second.map(({ duplicate }) => duplicate),
      [true, false],
      'the second batch',
    );
    same(second[0]?.position, first[1]?.position, 'the position of the one known');
    same(
      (await kit.log()).map(({ id }) => id),
      ['a', 'b', 'c'],
      'the log',
    );
  }),

  conformanceCase('G4-4', 'after a restart and after a crash, however long ago', async (kit) => {
    await kit.start();
    const first = await kit.bus.publish(happened('e'));
    for (const more of [1, 2]) await kit.bus.publish(several(600, `f${more}-`));
    await kit.stop();
    await kit.start();
    same(await kit.bus.publish(happened('e')), { ...first, duplicate: true }, 'after a restart');
    await kit.advance(366 * 24 * 3_600_000);
    await kit.crash();
    await kit.start();
    same(await kit.bus.publish(happened('e')), { ...first, duplicate: true }, 'after a crash, a year later');
  }),

  conformanceCase('G4-5', 'the same id under another source is another event', async (kit) => {
    await kit.start();
    const all = await kit.bus.publish([happened('e', { source: '/a' }), happened('e', { source: '/b' })]);
    same(
      all.map(({ duplicate }) => duplicate),
      [false, false],
      'duplicates',
    );
    // Neither is told apart by where one ends and the other begins.
    await kit.bus.publish(happened('b', { source: '/a' }));
    same((await kit.bus.publish(happened('/b', { source: '/a' }))).duplicate, false, 'a similar pair');
    same((await kit.log()).length, 4, 'events in the log');
  }),

  conformanceCase('G4-6', 'scheduled: against what is scheduled, and against the log, both ways', async (kit) => {
    await kit.start();
    const first = await kit.bus.publish(happened('e'), { delayMs: 1000 });
    const dueMs = kit.clock.now() + 1000;
    same(first, { id: 'e', position: null, duplicate: false, scheduledMs: dueMs }, 'the first');
    same(
      await kit.bus.publish(happened('e'), { delayMs: 9000 }),
      { id: 'e', position: null, duplicate: true, scheduledMs: dueMs },
      'scheduled again: the first moment stays',
    );
    await kit.advance(1000);
    const [event] = await kit.log();
    same(event?.id, 'e', 'the log');
    same(
      await kit.bus.publish(happened('e'), { delayMs: 1000 }),
      { id: 'e', position: 1, duplicate: true, scheduledMs: null },
      'scheduled after it fired',
    );
    await kit.bus.publish(happened('soon'), { delayMs: 1000 });
    same((await kit.bus.publish(happened('soon'))).duplicate, false, 'published at once while scheduled');
    await kit.advance(10_000);
    same(
      (await kit.log()).map(({ id }) => id),
      ['e', 'soon'],
      'the log in the end',
    );
  }),

  conformanceCase(
    'G4-7',
    'published by a handler: an attempt repeated does not publish twice what has an id',
    async (kit) => {
      const { handler } = recorder(kit, (_event, context) =>
        context.publish(happened('follow', { type: 'thing.followed' })),
      );
      await kit.start([handles(handler, {}, 'thing.happened')]);
      await kit.bus.publish(several(3, 'e'));
      await kit.bus.drain();
      same(
        (await kit.log()).map(({ id }) => id),
        ['e1', 'e2', 'e3', 'follow'],
        'the log',
      );
    },
  ),

  conformanceCase(
    'G4-8',
    'published by two processes at once, one id is stored once',
    async (kit) => {
      if (!kit.capabilities.shared) return refusesOthers(kit);
      await kit.start();
      const other = await kit.beside();
      const published = await Promise.all(
        several(50, 'e').flatMap((event) => [kit.bus.publish(event), other.publish(event)]),
      );
      same((await kit.log()).length, 50, 'events stored');
      same(published.filter(({ duplicate }) => duplicate).length, 50, 'duplicates told');
      for (let at = 0; at < 100; at += 2) same(published[at]?.position, published[at + 1]?.position, 'their position');
    },
    'shared',
  ),

  conformanceCase(
    'G4-9',
    'published in a transaction of the application what is there already, or is published again, one is stored',
    async (kit) => {
      if (!kit.capabilities.outbox) return refusesForeignTransactions(kit);
      const { handler, ids } = recorder(kit);
      await kit.start([handles(handler)]);
      await kit.bus.publish(happened('known'));
      const first = await kit.transaction();
      await kit.bus.publish([happened('known'), happened('new'), happened('new')], { tx: first.tx });
      await first.commit();
      await kit.until(() => ids().includes('new'), 'the new one');
      const second = await kit.transaction();
      await kit.bus.publish([happened('new'), happened('last')], { tx: second.tx });
      await second.commit();
      same((await kit.bus.publish(happened('new'))).duplicate, true, 'a duplicate');
      await kit.until(() => ids().includes('last'), 'the last one');
      same(ids(), ['known', 'new', 'last'], 'handled');
    },
    'outbox',
  ),
];
