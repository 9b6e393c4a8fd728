import { describe, expect, it } from 'vitest';
import { recentEvents, type RecentEvents } from './recent-events.ts';
import type { FreshRow } from './rows.ts';

const row = (position: number, size = 0): FreshRow => ({ position, data: 'x'.repeat(size) }) as FreshRow;

function filled(...positions: readonly number[]): RecentEvents {
  const recent = recentEvents(0);
  for (const position of positions) recent.add(row(position));
  return recent;
}

const after = (recent: RecentEvents, position: number): number[] => {
  const found: number[] = [];
  for (let index = recent.indexAfter(position), one = recent.at(index); one; one = recent.at(++index))
    found.push(one.position);
  return found;
};

describe('recent events', () => {
  it('cover what came since they began', () => {
    const recent = recentEvents(10);
    expect([recent.covers(9), recent.covers(10), recent.covers(99)]).toEqual([false, true, true]);
    expect(after(recent, 10)).toEqual([]);
  });

  it('find what is after a position, holes or not', () => {
    const recent = filled(2, 3, 7, 9);
    expect([0, 2, 4, 8, 9].map((position) => after(recent, position))).toEqual([
      [2, 3, 7, 9],
      [3, 7, 9],
      [7, 9],
      [9],
      [],
    ]);
    expect(recent.at(-1)).toBeUndefined();
  });

  it('forget what nobody will ask for', () => {
    const recent = filled(1, 2, 5);
    recent.drop(3);
    expect([recent.covers(1), recent.covers(2), after(recent, 2)]).toEqual([false, true, [5]]);
    recent.drop(20);
    expect([recent.covers(19), recent.covers(20), after(recent, 20)]).toEqual([false, true, []]);
    recent.drop(4);
    expect(recent.covers(19)).toBe(false);
  });

  it('are bounded by number', () => {
    const recent = filled(...Array.from({ length: 10_000 }, (_, no) => no + 1));
    expect(after(recent, 0).length).toBe(8191);
    expect([recent.covers(1808), recent.covers(1809), after(recent, 1809)[0]]).toEqual([false, true, 1810]);
  });

  it('are bounded by size, but for the last', () => {
    const recent = recentEvents(0);
    for (let position = 1; position <= 5; position++) recent.add(row(position, 3 * 1024 * 1024));
    expect([after(recent, 0), recent.covers(2), recent.covers(3)]).toEqual([[4, 5], false, true]);
    recent.add(row(6, 20 * 1024 * 1024));
    expect(after(recent, 0)).toEqual([6]);
    recent.add(row(7));
    expect(after(recent, 0)).toEqual([7]);
  });
});
