import { describe, expect, it } from 'vitest';
import { Share, slotsToLeave, type StoredShare } from './share.ts';
import { SLOTS } from './slots.ts';
import type { EventRow } from './stored.ts';

const allSlots: readonly number[] = Array.from({ length: SLOTS }, (_, slot) => slot);

const stored = (no: number, slots: readonly number[]): StoredShare => ({
  no,
  slots,
  version: 4,
  state: null,
  start: 0,
  reached: 0,
});
const event = (slot: number, position: number): EventRow => ({ slot, position }) as EventRow;
const at = (...places: [number, number][]): ReadonlyMap<number, number> => new Map(places);

describe('what a process reads of a subscription it shares', () => {
  it('the first slots put the cursor where the one furthest behind is; the others are ahead', () => {
    const share = new Share();
    expect(share.acquire(stored(1, [1, 2]), at([1, 10], [2, 30]), 99)).toBe(10);
    expect(share.reads(event(1, 11))).toBe(true);
    expect(share.reads(event(2, 30))).toBe(false);
    expect(share.reads(event(2, 31))).toBe(true);
    expect(share.reads(event(3, 50))).toBe(false);
    expect(share.simple).toBe(false);
    share.passed(30);
    expect(share.simple).toBe(true);
  });

  it('a slot that is behind takes the cursor back, and what was read is not read again', () => {
    const share = new Share();
    share.acquire(stored(1, [1]), at([1, 10]), 0);
    expect(share.acquire(stored(2, [2]), at([2, 20]), 50)).toBe(20);
    expect(share.reads(event(1, 50))).toBe(false);
    expect(share.reads(event(1, 51))).toBe(true);
    expect(share.reads(event(2, 21))).toBe(true);
    // Once more, from further back: the first slot is still read up to 50, not to where the cursor stood.
    expect(share.acquire(stored(3, [3]), at([3, 5]), 25)).toBe(5);
    expect([share.reads(event(1, 50)), share.reads(event(2, 25)), share.reads(event(2, 26))]).toEqual([
      false,
      false,
      true,
    ]);
  });

  it('a slot that is ahead leaves the cursor where it is', () => {
    const share = new Share();
    share.acquire(stored(1, [1]), at([1, 10]), 0);
    expect(share.acquire(stored(2, [2]), at([2, 80]), 50)).toBe(50);
    expect([share.reads(event(2, 80)), share.reads(event(2, 81)), share.reads(event(1, 51))]).toEqual([
      false,
      true,
      true,
    ]);
  });

  it('a slot that is leaving is read no further, and keeps its place until it is gone', () => {
    const share = new Share();
    share.acquire(stored(1, [1, 2, 3]), at([1, 10], [2, 10], [3, 90]), 0);
    share.leave([2, 3], 40);
    expect([share.reads(event(2, 41)), share.reads(event(3, 91)), share.reads(event(1, 41))]).toEqual([
      false,
      false,
      true,
    ]);
    expect([share.staying, share.owned.size, share.whole]).toEqual([1, 3, false]);
    expect([share.positionOf(2, 70), share.positionOf(3, 70), share.positionOf(1, 70)]).toEqual([40, 90, 70]);
    expect(share.placeOf([2, 3], 70)).toEqual({ readUpTo: 40, slots: new Map([[3, 90]]) });
    share.becomes(7, 1);
    expect([...share.owned]).toEqual([1]);
    expect(share.held.map(({ no, version, slots }) => [no, version, [...slots]])).toEqual([[7, 1, [1]]]);
    expect(share.simple).toBe(true);
  });

  it('whatever changes what is read is told by the revision', () => {
    const share = new Share();
    const seen = [share.revision];
    const changes = [() => share.acquire(stored(1, [1]), at([1, 0]), 0), () => share.leave([1], 5), () => share.lose()];
    for (const change of changes) {
      change();
      expect(seen).not.toContain(share.revision);
      seen.push(share.revision);
    }
  });

  it('having lost all, it reads nothing and holds nothing', () => {
    const share = new Share();
    share.acquire(stored(1, allSlots), new Map(allSlots.map((slot) => [slot, slot])), 0);
    expect(share.whole).toBe(true);
    share.lose();
    expect([share.owned.size, share.held.length, share.simple, share.whole]).toEqual([0, 0, true, false]);
    expect(share.reads(event(1, 99))).toBe(false);
  });

  it('the last slots leave first, and none twice', () => {
    const share = new Share();
    share.acquire(stored(1, [1, 2, 3, 4]), at([1, 0], [2, 0], [3, 0], [4, 0]), 0);
    expect(slotsToLeave(share, 2)).toEqual([3, 4]);
    share.leave([4], 0);
    expect(slotsToLeave(share, 2)).toEqual([2, 3]);
  });
});
