import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Appender } from './append.ts';
import { openDatabase, type Database } from './binding.ts';
import { dedupeNumber } from '../../engine/log/index.ts';
import { CELLS_PER_EVENT, type Cell } from './messages.ts';
import { migrate } from './schema.ts';

function emptyLog(): { database: Database; append: (ids: readonly string[], source?: string) => number[] } {
  const database = openDatabase(':memory:', 0);
  migrate(database);
  const appender = new Appender(database);
  const append = (ids: readonly string[], source = '/s'): number[] => {
    const cells: Cell[] = ids.flatMap((id) => [id, source, 'thing.happened', null, null, null, `"${id}"`]);
    const positions = new Float64Array(ids.length);
    appender.append(cells, 0, ids.length, 1000, positions);
    return [...positions];
  };
  return { database, append };
}

const stored = (database: Database): string[] =>
  (database.prepare('SELECT id FROM carillon_events ORDER BY position').all() as { id: string }[]).map(({ id }) => id);

const several = (count: number, name = 'e'): string[] => Array.from({ length: count }, (_, no) => `${name}${no}`);

/** Ids of one millisecond and one counter value: all of them share a number. */
const colliding = (no: number): string => `0198c0f5-5f3a-7007-8000-${no.toString(16).padStart(12, '0')}`;

describe('Appender', () => {
  it.each([1, 15, 16, 17, 32, 47])('appends %i events in order', (count) => {
    const { append, database } = emptyLog();
    expect(append(several(count))).toEqual(Array.from({ length: count }, (_, index) => index + 1));
    expect(stored(database)).toEqual(several(count));
    expect(append(['next'])).toEqual([count + 1]);
  });

  it('writes every cell to its column', () => {
    const { database } = emptyLog();
    const row = (no: number): Cell[] => [
      `i${no}`,
      '/s',
      't',
      'sub',
      '2026-01-01T00:00:00Z',
      '{"a":1}',
      new Uint8Array([no]),
    ];
    const cells = Array.from({ length: 17 }, (_, no) => row(no)).flat();
    expect(cells.length).toBe(17 * CELLS_PER_EVENT);
    new Appender(database).append(cells, 0, 17, 1234, new Float64Array(17));
    const rows = database
      .prepare('SELECT recorded, id, source, type, subject, time, attributes, data FROM carillon_events')
      .all() as Record<string, unknown>[];
    expect(rows.map((found) => Object.values(found))).toEqual(
      Array.from({ length: 17 }, (_, no) => [1234, ...row(no)]),
    );
  });

  it('tells a duplicate by the negative position of the first', () => {
    const { append, database } = emptyLog();
    append(['a', 'b', 'c']);
    expect(append(['b'])).toEqual([-2]);
    expect(stored(database)).toEqual(['a', 'b', 'c']);
  });

  it('tells apart the fresh and the known within one statement', () => {
    const { append, database } = emptyLog();
    append(['known']);
    const ids = several(16);
    ids[3] = 'known';
    const positions = append(ids);
    expect(positions[3]).toBe(-1);
    const fresh = positions.filter((_, index) => index !== 3);
    expect(fresh.every((position, index) => position > (fresh[index - 1] ?? 1))).toBe(true);
    expect(stored(database)).toEqual(['known', ...ids.filter((id) => id !== 'known')]);
  });

  it('stores an event once that stands twice in one statement', () => {
    const { append, database } = emptyLog();
    const ids = several(16);
    ids[9] = 'e2';
    const positions = append(ids);
    expect(positions[9]).toBe(-(positions[2] as number));
    expect(positions.filter((position) => position < 0).length).toBe(1);
    expect(stored(database)).toEqual(several(16).filter((id) => id !== 'e9'));
  });

  it('stores an event once that stands in two statements of one call', () => {
    const { append } = emptyLog();
    const ids = several(32);
    ids[20] = 'e4';
    const positions = append(ids);
    expect(positions[4]).toBe(5);
    expect(positions[20]).toBe(-5);
  });

  it('takes nothing when all of a statement is known', () => {
    const { append, database } = emptyLog();
    append(several(16));
    expect(append(several(16))).toEqual(Array.from({ length: 16 }, (_, index) => -index - 1));
    expect(stored(database).length).toBe(16);
  });

  it('keeps two events that share a number apart, in the order given', () => {
    const { append, database } = emptyLog();
    expect(dedupeNumber('/s', colliding(1))).toBe(dedupeNumber('/s', colliding(2)));
    const ids = several(16);
    ids[2] = colliding(1);
    ids[5] = colliding(2);
    const positions = append(ids);
    expect(stored(database)).toEqual(ids);
    expect(positions).toEqual(positions.toSorted((a, b) => a - b));
    expect(append([colliding(2), colliding(1), colliding(3)])).toEqual([
      -(positions[5] as number),
      -(positions[2] as number),
      expect.any(Number),
    ]);
    expect(stored(database).at(-1)).toBe(colliding(3));
  });

  it('takes the same id of another source for another event', () => {
    const { append, database } = emptyLog();
    append([colliding(1)], '/a');
    expect(append([colliding(1)], '/b')).not.toEqual([-1]);
    expect(stored(database).length).toBe(2);
  });

  it('gives up after 10,000 numbers that are taken', () => {
    const { append, database } = emptyLog();
    const first = dedupeNumber('/s', colliding(0));
    database.exec(
      `WITH RECURSIVE taken(n) AS (SELECT ${first} UNION ALL SELECT n + 1 FROM taken WHERE n < ${first + 9999})
       INSERT INTO carillon_events (dedupe, recorded, id, source, type) SELECT n, 0, 'other', '/s', 't' FROM taken`,
    );
    expect(() => append([colliding(0)])).toThrow(expect.objectContaining({ code: 'CARILLON_BUG' }));
  });

  it('stores what a map would, in any batches', () => {
    const id = fc.oneof(
      fc.nat(40).map((no) => `e${no}`),
      fc.nat(40).map(colliding),
    );
    const batch = fc.array(id, { minLength: 1, maxLength: 50, size: 'max' });
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 8 }), (batches) => {
        const { append, database } = emptyLog();
        const model = new Map<string, number>();
        let last = 0;
        for (const ids of batches) {
          const positions = append(ids);
          ids.forEach((one, index) => {
            const position = positions[index] as number;
            const known = model.get(one);
            expect(known === undefined ? position > last : position === -known).toBe(true);
            if (known !== undefined) return;
            last = position;
            model.set(one, position);
          });
        }
        expect(stored(database)).toEqual([...model.keys()]);
        database.close();
      }),
      { numRuns: 150 },
    );
  });
});
