import { defineModule, type Event } from '../../core/index.ts';
import { holds, refused, same } from './check.ts';
import { conformanceCase, fail, handles, happened, recorder, several, type ConformanceCase } from './kit.ts';
import { refusesForeignTransactions } from './refusals.ts';

/** G5: a batch is atomic; `expectedRevision` on a subject refuses a stale writer. */
export const g5: readonly ConformanceCase[] = [
  conformanceCase('G5-1', 'a batch with one event that is not valid stores none', async (kit) => {
    await kit.start();
    const bad = { ...happened('bad'), id: '' } as Event;
    await refused(
      'CARILLON_ATTRIBUTE_INVALID',
      () => kit.bus.publish([happened('a'), bad, happened('c')]),
      'the batch',
    );
    same(await kit.log(), [], 'the log');
  }),

  conformanceCase('G5-2', 'a batch of which a sync handler refuses one event stores none', async (kit) => {
    const module = defineModule('suite', (m) =>
      m.handleSync('>', (event) => (event.id === 'b' ? fail('not this one') : undefined), { name: 'gate' }),
    );
    await kit.start([module]);
    await refused(
      'CARILLON_REFUSED',
      () => kit.bus.publish([happened('a'), happened('b'), happened('c')]),
      'the batch',
    );
    same(await kit.log(), [], 'the log');
  }),

  conformanceCase('G5-3', 'a batch stands together in the log, whoever publishes beside it', async (kit) => {
    await kit.start();
    const batches = Array.from({ length: 10 }, (_, n) => several(7, `b${n}-`));
    await Promise.all(batches.flatMap((batch, n) => [kit.bus.publish(batch), kit.bus.publish(happened(`single${n}`))]));
    const ids = (await kit.log()).map(({ id }) => id);
    for (const batch of batches) {
      const from = ids.indexOf(batch[0]?.id ?? '');
      same(
        ids.slice(from, from + 7),
        batch.map(({ id }) => id),
        'a batch in the log',
      );
    }
  }),

  conformanceCase(
    'G5-4',
    'a batch whose publish was cut short by a crash is there as a whole or not at all',
    async (kit) => {
      for (let round = 0; round < 5; round++) {
        await kit.start();
        const batches = Array.from({ length: 5 }, (_, n) => several(50, `r${round}b${n}-`));
        for (const batch of batches) kit.bus.publish(batch).catch(() => undefined);
        if (round % 2 === 1) await new Promise<void>((resolve) => kit.clock.defer(resolve));
        await kit.crash();
      }
      await kit.start();
      const counts = new Map<string, number>();
      for (const { id } of await kit.log()) {
        const batch = id.slice(0, id.indexOf('-'));
        counts.set(batch, (counts.get(batch) ?? 0) + 1);
      }
      holds(
        [...counts.values()].every((count) => count === 50),
        `events by batch: ${JSON.stringify([...counts])}`,
      );
    },
  ),

  conformanceCase(
    'G5-5',
    'expectedRevision: none for a new subject, then the last position; anything else is refused',
    async (kit) => {
      await kit.start();
      const publish = (id: string, expectedRevision: number | 'none', key: string = 's') =>
        kit.bus.publish(happened(id, { key }), { expectedRevision });
      const first = await publish('a', 'none');
      const stale = await refused('CARILLON_REVISION_CONFLICT', () => publish('x', 'none'), 'none, though it has one');
      same(stale.details['actualRevision'], first.position, 'the revision the error tells');
      await kit.bus.publish(happened('elsewhere', { key: 'other' }));
      const second = await publish('b', first.position as number);
      await refused('CARILLON_REVISION_CONFLICT', () => publish('x', first.position as number), 'a stale revision');
      await refused(
        'CARILLON_REVISION_CONFLICT',
        () => publish('x', (second.position as number) + 1),
        'a revision to come',
      );
      await refused('CARILLON_REVISION_CONFLICT', () => publish('x', 1, 'new'), 'a number for a new subject');
      same(
        (await kit.log()).map(({ id }) => id),
        ['a', 'elsewhere', 'b'],
        'the log',
      );
    },
  ),

  conformanceCase('G5-6', 'a publish repeated with its revision succeeds as what it is: a duplicate', async (kit) => {
    await kit.start();
    const first = await kit.bus.publish(happened('a', { key: 's' }), { expectedRevision: 'none' });
    await kit.bus.publish(happened('b', { key: 's' }), { expectedRevision: first.position as number });
    const again = await kit.bus.publish(happened('a', { key: 's' }), { expectedRevision: 'none' });
    same(again, { ...first, duplicate: true }, 'repeated though the subject went on');
    await kit.crash();
    await kit.start();
    same(
      await kit.bus.publish(happened('a', { key: 's' }), { expectedRevision: 'none' }),
      { ...first, duplicate: true },
      'repeated after a crash',
    );
  }),

  conformanceCase('G5-7', 'of writers that race for one revision, one wins', async (kit) => {
    await kit.start();
    const outcomes = await Promise.allSettled(
      several(10, 'w', { key: 's' }).map((event) => kit.bus.publish(event, { expectedRevision: 'none' })),
    );
    same(outcomes.filter(({ status }) => status === 'fulfilled').length, 1, 'winners');
    same((await kit.log()).length, 1, 'events in the log');
  }),

  conformanceCase('G5-8', 'a batch refused for its revision stores none, and a good one all', async (kit) => {
    await kit.start();
    const batch = several(3, 'a', { key: 's' });
    await refused('CARILLON_REVISION_CONFLICT', () => kit.bus.publish(batch, { expectedRevision: 7 }), 'a stale batch');
    same(await kit.log(), [], 'the log');
    const stored = await kit.bus.publish(batch, { expectedRevision: 'none' });
    const last = stored.at(-1)?.position as number;
    await kit.bus.publish(happened('next', { key: 's' }), { expectedRevision: last });
    same((await kit.log()).length, 4, 'events in the log');
  }),

  conformanceCase(
    'G5-9',
    'a batch larger than its bound is refused as a whole; an empty one is nothing',
    async (kit) => {
      await kit.start([], { limits: { batchEventsMax: 10 } });
      await refused('CARILLON_BATCH_TOO_LARGE', () => kit.bus.publish(several(11, 'e')), 'eleven events');
      same(await kit.bus.publish([]), [], 'an empty batch');
      await kit.bus.publish(several(10, 'e'));
      same((await kit.log()).length, 10, 'events in the log');
    },
  ),

  conformanceCase('G5-10', 'a handler sees a batch only once all of it is there', async (kit) => {
    const { handler } = recorder(kit, async (event) => {
      if (event.id === 'b1')
        same((await kit.bus.ends()).last, 20, 'the end of the log as the first of the batch is handled');
    });
    await kit.start([handles(handler)]);
    await kit.bus.publish(several(20, 'b'));
    await kit.bus.drain();
    same((await kit.state()).handled, 20, 'handled');
  }),

  conformanceCase(
    'G5-11',
    'published in a transaction of the application, events are there if it commits, and only then',
    async (kit) => {
      if (!kit.capabilities.outbox) return refusesForeignTransactions(kit);
      const { handler, ids } = recorder(kit);
      await kit.start([handles(handler)]);
      const good = await kit.transaction();
      const told = await kit.bus.publish(several(3, 'good'), { tx: good.tx });
      same(
        told.map(({ position, duplicate }) => [position, duplicate]),
        Array.from({ length: 3 }, () => [null, false]),
        'what publish resolves with',
      );
      const bad = await kit.transaction();
      await kit.bus.publish(several(3, 'bad'), { tx: bad.tx });
      await bad.rollback();
      await kit.settle();
      same((await kit.log()).length, 0, 'events before the commit');
      const refusal = await refused(
        'CARILLON_OPTION_INVALID',
        () => kit.bus.publish(happened('e'), { tx: good.tx, expectedRevision: 'none' }),
        'a revision beside a transaction',
      );
      same(refusal.details['option'], 'expectedRevision', 'the option it names');
      await good.commit();
      await kit.until(() => ids().length === 3, 'the events of the one that was committed');
      same(ids(), ['good1', 'good2', 'good3'], 'in their order');
    },
    'outbox',
  ),
];
