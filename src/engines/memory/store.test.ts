import { describe, expect, it } from 'vitest';
import { defineEvent } from '../../core/index.ts';
import type { CommitBatch, DeliveryRow } from '../../engine/log/index.ts';
import { rowOf } from '../../engine/log/rows.ts';
import { emptyBatch } from '../../engine/log/store.ts';
import { memory, memoryLog } from './index.ts';
import { MemoryStore } from './store.ts';

const Happened = defineEvent('thing.happened');
const row = (id: string, subject?: string, type = Happened) =>
  rowOf({ event: type(undefined, { id, source: '/s', subject }), data: null });

type Unit = CommitBatch['units'][number];
const unit = (ids: readonly string[], subject?: string, given: Partial<Unit> = {}): Unit => ({
  rows: ids.map((id) => row(id, subject)),
  expectedRevision: undefined,
  subject: subject ?? null,
  scheduled: undefined,
  ...given,
});

const batch = (units: readonly Unit[], given: Partial<CommitBatch> = {}): CommitBatch => ({
  ...emptyBatch,
  recordedMs: 1000,
  units,
  ...given,
});

const delivery = (subscription: number, position: number, given: Partial<DeliveryRow> = {}): DeliveryRow => ({
  subscription,
  position,
  slot: 0,
  state: 'held',
  key: null,
  attempts: 1,
  atMs: 0,
  holds: false,
  records: [],
  data: null,
  ...given,
});

const wide = { after: 0, upTo: 1e6, limit: 1e6, scanMax: 1e6 };

async function filled(...subjects: readonly (string | undefined)[]): Promise<MemoryStore> {
  const store = new MemoryStore(memoryLog());
  for (const [index, subject] of subjects.entries()) {
    await store.commit(batch([unit([`e${index + 1}`], subject)], { recordedMs: (index + 1) * 10 }));
  }
  return store;
}

describe('commit', () => {
  it('appends, and tells duplicates by the negative position of the first', async () => {
    const store = await filled(undefined);
    const { positions } = await store.commit(batch([unit(['a', 'a', 'e1', 'b'])]));
    expect([...positions]).toEqual([2, -2, -1, 3]);
  });

  it('refuses the unit with a stale revision, and keeps the others', async () => {
    const store = await filled('x');
    const stale = unit(['a', 'b'], 'x', { expectedRevision: 'none' });
    const result = await store.commit(batch([stale, unit(['c'], 'x', { expectedRevision: 1 }), unit(['d'])]));
    expect([...result.positions]).toEqual([0, 0, 2, 3]);
    expect(result.refused).toEqual([{ unit: 0, reason: { kind: 'revision', actual: 1 } }]);
    const repeated = await store.commit(batch([unit(['c'], 'x', { expectedRevision: 1 })]));
    expect([[...repeated.positions], repeated.refused]).toEqual([[-2], []]);
  });

  it('schedules once, moves once, and gives back what is cancelled', async () => {
    const store = await filled(undefined);
    const schedule = [row('e1'), row('a'), row('a'), row('b')].map((event) => ({ event, dueMs: 50 }));
    const first = await store.commit(batch([], { schedule }));
    expect(first.scheduled).toEqual([{ position: 1, dueMs: 0 }, null, { position: 0, dueMs: 50 }, null]);
    const cancel = {
      unschedule: [
        { source: '/s', id: 'b' },
        { source: '/s', id: 'b' },
      ],
    };
    expect((await store.commit(batch([], cancel))).unscheduled).toEqual([true, false]);
    const { due, nextMs } = await store.readDue(50, 9);
    expect([due.map(({ event }) => event.id), nextMs]).toEqual([['a'], null]);
    const move = batch([unit(['a'], undefined, { scheduled: due[0]?.no })]);
    expect([...(await store.commit(move)).positions]).toEqual([2]);
    expect((await store.commit(move)).refused).toEqual([{ unit: 0, reason: { kind: 'cancelled' } }]);
  });

  it('writes states, puts and removes rows', async () => {
    const store = await filled(undefined);
    await store.openSubscription('m.h', 'beginning');
    const state = new Uint8Array([1]);
    await store.commit(
      batch([], { put: [delivery(1, 1), delivery(1, 2)], states: [{ subscription: 1, share: 0, version: 0, state }] }),
    );
    await store.commit(batch([], { remove: [{ subscription: 1, position: 1 }] }));
    expect((await store.openSubscription('m.h', 'now')).state).toBe(state);
    const rows = await store.readDeliveries({ states: ['held'], limit: 9, withEvents: false });
    expect(rows.map(({ position }) => position)).toEqual([2]);
  });
});

describe('read', () => {
  it.each([
    ['all', {}, [1, 2, 3, 4], 1e6],
    ['after and up to', { after: 1, upTo: 3 }, [2, 3], 3],
    ['a limit', { limit: 2 }, [1, 2], 2],
    ['of a subject', { subject: 'x' }, [1, 3], 1e6],
    ['of a type', { type: 'other' }, [], 1e6],
    ['a window', { scanMax: 2, subject: 'y' }, [2], 2],
    ['nothing past the end', { after: 4, upTo: 4 }, [], 4],
  ])('%s', async (_what, query, expected, scannedTo) => {
    const store = await filled('x', 'y', 'x', undefined);
    const page = await store.read({ ...wide, ...query });
    expect([page.rows.map(({ position }) => position), page.scannedTo]).toEqual([expected, scannedTo]);
  });

  it('finds the place of a moment', async () => {
    const store = await filled('x', 'y');
    expect(await Promise.all([0, 10, 11, 20, 21].map((ms) => store.positionAt(ms)))).toEqual([1, 1, 2, 2, 3]);
    expect(await new MemoryStore(memoryLog()).positionAt(5)).toBe(1);
  });
});

describe('subscriptions', () => {
  it.each([
    ['beginning' as const, 0],
    ['now' as const, 3],
    [{ position: 0 }, 0],
    [{ position: 2 }, 1],
    [{ timeMs: 20 }, 1],
    [{ timeMs: 99 }, 3],
  ])('from %j start after %i', async (from, start) => {
    const store = await filled('x', 'y', 'z');
    expect(await store.openSubscription('m.h', from)).toEqual({ no: 1, start, state: null });
    expect((await store.openSubscription('m.h', 'now')).start).toBe(start);
  });

  it('have deliveries, held keys and counts of their own', async () => {
    const store = await filled('x', 'y');
    await store.openSubscription('a', 'beginning');
    await store.openSubscription('b', 'beginning');
    const put = [
      delivery(1, 2, { key: 'k' }),
      delivery(1, 1, { key: 'k', state: 'dead', holds: true }),
      delivery(1, 3, { key: 'l', state: 'dead' }),
      delivery(2, 1, { key: 'k' }),
    ];
    await store.commit(batch([], { put }));
    expect(await store.heldKeys(1)).toEqual([{ key: 'k', held: 1, holding: 1 }]);
    expect(await store.deliveryCounts(1)).toEqual({ held: 1, dead: 2 });
    const query = { states: ['held', 'dead'] as const, limit: 9, withEvents: true };
    const found = async (given: object): Promise<string[]> =>
      (await store.readDeliveries({ ...query, ...given })).map((one) => `${one.subscriptionName}${one.position}`);
    expect(await found({})).toEqual(['a1', 'b1', 'a2', 'a3']);
    expect(await found({ subscriptionName: 'b' })).toEqual(['b1']);
    expect(await found({ subscriptionName: 'none' })).toEqual([]);
    expect(await found({ subscription: 1, key: 'k', after: 1 })).toEqual(['a2']);
    expect(await found({ positions: [3, 1], limit: 2 })).toEqual(['a1', 'b1']);
    expect((await store.readDeliveries(query)).map(({ event }) => event?.id)).toEqual(['e1', 'e1', 'e2', undefined]);
  });
});

describe('a memory log', () => {
  it('serves one engine at a time, and then the next', async () => {
    const log = memoryLog();
    const first = new MemoryStore(log);
    expect(await first.open()).toEqual({ first: 0, last: 0, lastRecordedMs: 0, nextDueMs: null });
    await expect(new MemoryStore(log).open()).rejects.toMatchObject({ code: 'CARILLON_DIRECTORY_LOCKED' });
    await first.commit(batch([unit(['a'])], { schedule: [{ event: row('b'), dueMs: 7 }] }));
    await first.close();
    expect(await new MemoryStore(log).open()).toEqual({ first: 1, last: 1, lastRecordedMs: 1000, nextDueMs: 7 });
  });

  it('has no transactions, and says so', async () => {
    const store = new MemoryStore(memoryLog());
    await expect(store.begin()).rejects.toMatchObject({ code: 'CARILLON_UNSUPPORTED' });
    expect(memory().capabilities).toEqual({ durable: false, transactions: false, shared: false, outbox: false });
  });
});
