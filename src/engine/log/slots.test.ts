import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SLOTS, slotOf, SlotSet, slotsDue } from './slots.ts';

describe('slotOf', () => {
  it('never changes: places on disk are kept by slot', () => {
    expect(['', 'a', 'order-1', 'customer/42', 'ünïcode 🔔'].map(slotOf)).toEqual([14, 53, 61, 20, 7]);
  });

  it('spreads keys that differ little', () => {
    const counts = Array.from({ length: SLOTS }, () => 0);
    for (let no = 0; no < 64_000; no++) counts[slotOf(`customer-${no}`)] = (counts[slotOf(`customer-${no}`)] ?? 0) + 1;
    expect(Math.min(...counts)).toBeGreaterThan(850);
    expect(Math.max(...counts)).toBeLessThan(1150);
  });
});

describe('a set of slots', () => {
  it('behaves as a set', () => {
    const change = fc.tuple(fc.boolean(), fc.nat({ max: SLOTS - 1 }));
    fc.assert(
      fc.property(fc.array(change), (changes) => {
        const set = new SlotSet();
        const model = new Set<number>();
        for (const [add, slot] of changes) {
          if (add) model.add(slot);
          else model.delete(slot);
          if (add) set.add(slot);
          else set.delete(slot);
        }
        expect([set.size, [...set]]).toEqual([model.size, [...model].sort((a, b) => a - b)]);
      }),
    );
  });
});

describe('slotsDue', () => {
  it('gives every slot to exactly one runner, and to all of them as evenly as can be', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(), { minLength: 1, maxLength: 80 }), (runners) => {
        const due = runners.map((runner) => slotsDue(runners, runner, false));
        expect(due.reduce((sum, count) => sum + count, 0)).toBe(SLOTS);
        expect(Math.max(...due) - Math.min(...due)).toBeLessThanOrEqual(1);
        const exclusive = runners.map((runner) => slotsDue(runners, runner, true));
        expect(exclusive).toEqual(runners.map((_, index) => (index === 0 ? SLOTS : 0)));
      }),
    );
    expect(slotsDue([1, 2], 3, false)).toBe(0);
  });
});
