import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { compare, Rebuilt } from '../crash/postgres-changes/rebuild.mjs';
import { isBad, trial } from '../crash/postgres-changes/trial.mjs';
import type { Event } from 'carillon';

describe('killed under load, in the snapshot and in the stream', () => {
  it('its events rebuild the tables all the same', async () => {
    const dist = fileURLToPath(new URL('../../dist', import.meta.url));
    const result = await trial({ dist, seconds: 6, kills: 3, seed: 20_260_101 });
    expect(result).toMatchObject({
      lost: 0,
      phantom: 0,
      twice: 0,
      impossible: 0,
      examples: [],
    });
    expect(isBad(result)).toBe(false);
    expect(result.transactions).toBeGreaterThan(0);
    expect(result.where['streaming']).toBeGreaterThanOrEqual(1);
  });
});

describe('the checker', () => {
  let ids = 0;
  const event = (what: string, key: object | null, after: object | null, id: string = `e${ids++}`): Event => ({
    specversion: '1.0',
    id,
    source: '/s',
    type: `d.public.t.${what}`,
    data: { table: 't', key, after },
  });
  const rebuilt = (...events: readonly Event[]): Rebuilt => {
    const tables = new Rebuilt();
    for (const one of events) tables.take(one);
    return tables;
  };
  const [one, two] = [{ id: 1 }, { id: 2 }];

  it('rebuilds rows with and without a key', () => {
    const good = rebuilt(
      event('created', one, { id: 1, v: 1 }),
      event('updated', one, { v: 2, id: 1 }),
      event('created', two, two),
      event('deleted', two, null),
    );
    expect([good.impossible, good.twice, [...good.rowsOf('t').keys()]]).toEqual([[], 0, ['[["id",1],["v",2]]']]);
    const bag = rebuilt(event('created', null, one), event('created', null, one));
    expect([...bag.rowsOf('t')]).toEqual([['[["id",1]]', 2]]);
    expect(bag.impossible).toEqual([]);
  });

  it.each([
    ['a row created twice', [event('created', one, one), event('created', one, one)]],
    ['an update of a row that is not there', [event('updated', one, one)]],
    ['a deletion of a row that is not there', [event('deleted', one, null)]],
  ])('finds %s', (_what, events) => {
    expect(rebuilt(...events).impossible).toHaveLength(1);
  });

  it('finds an event that came twice, and voids what a broken snapshot had told', () => {
    expect(rebuilt(event('created', null, one, 'x'), event('created', null, one, 'x')).twice).toBe(1);
    const started = {
      specversion: '1.0',
      id: 's',
      source: '/s',
      type: 'carillon.changes.started',
      data: null,
    } as Event;
    const tables = rebuilt(event('created', one, one), started, event('created', one, one));
    expect([tables.impossible, tables.snapshots]).toEqual([[], 1]);
  });

  it('tells rows that are missing from those that are too many', () => {
    const [left, right] = [
      new Map([
        ['a', 1],
        ['b', 3],
      ]),
      new Map([
        ['b', 1],
        ['c', 2],
      ]),
    ];
    expect(compare(left, right)).toEqual({ lost: 2, phantom: 3 });
    expect(compare(left, left)).toEqual({ lost: 0, phantom: 0 });
  });
});
