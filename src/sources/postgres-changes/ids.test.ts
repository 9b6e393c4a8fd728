import { describe, expect, it } from 'vitest';
import { makeEvent } from '../../core/index.ts';
import { dedupeNumber, timeOrderedNumber } from '../../engine/log/deduplication.ts';
import { ChangeIds } from './ids.ts';

const take = (ids: ChangeIds, count: number): string[] => Array.from({ length: count }, () => ids.next());

describe('ids of changes', () => {
  it('are the same each time, and all different', () => {
    const ids = take(new ChangeIds(1, 0x16b3748n, 'stream'), 5000);
    expect(take(new ChangeIds(1, 0x16b3748n, 'stream'), 5000)).toEqual(ids);
    expect(new Set(ids).size).toBe(5000);
  });

  it('differ by place, also where only the high bits do, by generation and by origin', () => {
    const given = [
      new ChangeIds(1, 1n, 'stream'),
      new ChangeIds(1, 2n, 'stream'),
      new ChangeIds(1, (1n << 48n) + 1n, 'stream'),
      new ChangeIds(2, 1n, 'stream'),
      new ChangeIds(1, 1n, 'snapshot'),
    ];
    const all = given.flatMap((ids) => [ids.next(), ids.moved()]);
    // Of a snapshot nothing moves.
    expect(new Set(all.slice(0, -1)).size).toBe(9);
  });

  it('do not meet those of the next commit, however large the transaction', () => {
    // A change takes at least one byte of the log.
    const ids = take(new ChangeIds(1, 1000n, 'stream'), 10_000);
    const next = take(new ChangeIds(1, 1000n + 10_000n, 'stream'), 10_000);
    expect(new Set([...ids, ...next]).size).toBe(20_000);
  });

  it('are found again by numbers that rise, one for each change', () => {
    const ids = [
      ...take(new ChangeIds(1, 5_000_000n, 'stream'), 5000),
      ...take(new ChangeIds(1, 9_000_000n, 'stream'), 5000),
    ];
    expect(ids.every((id) => timeOrderedNumber(id) !== null)).toBe(true);
    const numbers = ids.map((id) => dedupeNumber('/s', id));
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(new Set(numbers).size).toBe(10_000);
  });

  it('are ids of events', () => {
    const id = new ChangeIds(3, 0xffff_ffff_ffff_fff0n & 0x7fff_ffff_ffff_ffffn, 'stream').next();
    expect(makeEvent({ specversion: '1.0', id, source: '/s', type: 't' }, null).id).toBe(id);
  });
});
