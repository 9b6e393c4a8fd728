import { describe, expect, it } from 'vitest';
import { resolveLimits } from '../../core/index.ts';
import { recoverRows, reopen, type Recovery } from './recovery.ts';
import type { LogStore, StoreQuery } from './store.ts';
import type { DeliveryRow, DeliveryState, EventRow } from './stored.ts';

const limits = resolveLimits({});
const nowMs = 1000;

const delivery = (position: number, state: DeliveryState, key: string | null, attempts: number = 1): DeliveryRow => ({
  subscription: 1,
  position,
  slot: 0,
  state,
  key,
  attempts,
  atMs: 5,
  holds: false,
  records: [],
  data: null,
});

describe('rows that an earlier process left behind', () => {
  const after = (rows: readonly DeliveryRow[], waiting: readonly string[] = []) =>
    recoverRows(
      { limits, nowMs },
      rows,
      waiting.map((key) => ({ key, held: 1, holding: 0 })),
    ).map(({ row, changed }) => [row.position, row.state, changed, row.records.map(({ error }) => error.code)]);

  it('one that was begun was cut short: that is recorded, and it is due now', () => {
    const [recovered] = recoverRows({ limits, nowMs }, [delivery(3, 'begun', 'k', 2)], []);
    expect(recovered?.row).toMatchObject({ state: 'retrying', atMs: nowMs, attempts: 2 });
    expect(recovered?.row.records).toMatchObject([{ attempt: 2, atMs: nowMs, error: { code: 'CARILLON_CRASHED' } }]);
  });

  it('one that is retrying stays as it is', () => {
    expect(after([delivery(3, 'retrying', 'k')])).toEqual([[3, 'retrying', false, []]]);
  });

  it('of several begun of one key the first goes on, and the others wait behind it', () => {
    expect(after([delivery(3, 'begun', 'k'), delivery(4, 'begun', 'k'), delivery(5, 'begun', 'other')])).toEqual([
      [3, 'retrying', true, ['CARILLON_CRASHED']],
      [4, 'held', true, ['CARILLON_CRASHED']],
      [5, 'retrying', true, ['CARILLON_CRASHED']],
    ]);
  });

  it('one begun behind others that wait, or behind a failing one, waits too', () => {
    expect(after([delivery(9, 'begun', 'k')], ['k'])).toEqual([[9, 'held', true, ['CARILLON_CRASHED']]]);
    expect(after([delivery(3, 'retrying', 'k'), delivery(4, 'begun', 'k')])).toEqual([
      [3, 'retrying', false, []],
      [4, 'held', true, ['CARILLON_CRASHED']],
    ]);
  });

  it('without a key none waits', () => {
    expect(after([delivery(3, 'begun', null), delivery(4, 'begun', null)]).map(([, state]) => state)).toEqual([
      'retrying',
      'retrying',
    ]);
  });
});

describe('deliveries that were open at a place', () => {
  const event = (position: number, slot: number): EventRow =>
    ({ position, slot, id: `e${position}`, type: position % 10 === 0 ? 'unwanted' : 'wanted' }) as EventRow;

  function recovery(last: number): Recovery {
    const store = {
      read: ({ after, upTo, limit }: StoreQuery) => {
        const rows: EventRow[] = [];
        for (let at = after + 1; at <= Math.min(upTo, last) && rows.length < limit; at++) rows.push(event(at, at % 2));
        const scannedTo = rows.length < limit ? upTo : (rows.at(-1)?.position ?? upTo);
        return Promise.resolve({ rows, scannedTo });
      },
    } as unknown as LogStore;
    return { store, limits, nowMs, wants: ({ type }) => type === 'wanted', keyOf: ({ id }) => id };
  }

  it('those begun have a record for each attempt, those that only waited none; what is not asked for is passed over', async () => {
    const open = [
      { position: 3, attempts: 0 },
      { position: 10, attempts: 1 },
      { position: 12, attempts: 2 },
      { position: 99, attempts: 1 },
    ];
    const reopened = await reopen(recovery(50), { readUpTo: 20, mark: 20, open, slots: new Map() }, 20);
    expect(reopened.map(({ position, attempts, records, key }) => [position, attempts, records.length, key])).toEqual([
      [3, 0, 0, 'e3'],
      [12, 2, 2, 'e12'],
    ]);
  });

  it('up to the mark each counts as begun once, but for slots that are further already', async () => {
    const place = { readUpTo: 20, mark: 26, open: [], slots: new Map([[1, 23]]) };
    const reopened = await reopen(recovery(50), place, 26);
    expect(reopened.map(({ position, attempts }) => [position, attempts])).toEqual([
      [22, 1],
      [24, 1],
      [25, 1],
      [26, 1],
    ]);
  });

  it('a mark beyond the end of the log comes to an end, and so does one over many pages', async () => {
    const far = await reopen(recovery(50), { readUpTo: 48, mark: 9_000, open: [], slots: new Map() }, 9_000);
    expect(far.map(({ position }) => position)).toEqual([49]);
    const many = await reopen(recovery(9_000), { readUpTo: 0, mark: 9_000, open: [], slots: new Map() }, 9_000);
    expect(many.length).toBe(8_100);
  });
});
