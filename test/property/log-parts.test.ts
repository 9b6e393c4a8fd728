import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dueQueue } from '../../src/engine/log/due-queue.ts';
import { HeldKeys } from '../../src/engine/log/held-keys.ts';
import { decodePlace, encodePlace } from '../../src/engine/log/state-codec.ts';

const position = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.integer({ min: 2 ** 31 - 5, max: 2 ** 31 + 5 }),
  fc.maxSafeNat(),
);

describe('the state of a subscription', () => {
  it('comes back as it was written, whatever the positions', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ position, attempts: fc.nat({ max: 100_000 }) })),
        position,
        fc.nat({ max: 1_000_000 }),
        fc.uniqueArray(fc.tuple(fc.nat({ max: 63 }), fc.integer({ min: 1, max: 1_000_000 })), { selector: ([s]) => s }),
        (unsorted, readUpTo, ahead, further) => {
          const open = [...new Map(unsorted.map((one) => [one.position, one])).values()].sort(
            (a, b) => a.position - b.position,
          );
          const mark = Math.min(Number.MAX_SAFE_INTEGER, readUpTo + ahead);
          const slots = new Map(
            further.map(([slot, by]) => [slot, Math.min(Number.MAX_SAFE_INTEGER, readUpTo + by)] as const),
          );
          expect(decodePlace(encodePlace(readUpTo, mark, open, slots))).toEqual({ readUpTo, mark, open, slots });
        },
      ),
    );
  });

  it('is refused when it is cut short within a number, or of another format', () => {
    const bytes = encodePlace(300, 300, [{ position: 200, attempts: 1 }]);
    expect(() => decodePlace(bytes.slice(0, 2))).toThrow(RangeError);
    expect(() => decodePlace(Uint8Array.of(9, 0, 0))).toThrow(/format 9/);
  });
});

describe('the queue of what is due', () => {
  it('behaves as a sorted list', () => {
    const action = fc.oneof(
      fc.record({ do: fc.constant('set' as const), position: fc.nat({ max: 20 }), dueMs: fc.nat({ max: 50 }) }),
      fc.record({ do: fc.constant('delete' as const), position: fc.nat({ max: 20 }) }),
      fc.record({ do: fc.constant('take' as const), nowMs: fc.nat({ max: 60 }), max: fc.nat({ max: 5 }) }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 100 }), (actions) => {
        const queue = dueQueue();
        const model = new Map<number, number>();
        const sorted = (): [number, number][] => [...model].sort(([p, a], [q, b]) => a - b || p - q);
        for (const one of actions) {
          let wanted: number[] = [];
          let taken: number[] = [];
          if (one.do === 'set') {
            queue.set(one.position, one.dueMs, 0);
            model.set(one.position, one.dueMs);
          } else if (one.do === 'delete') {
            queue.delete(one.position);
            model.delete(one.position);
          } else {
            wanted = sorted()
              .filter(([, dueMs]) => dueMs <= one.nowMs)
              .slice(0, one.max)
              .map(([at]) => at);
            taken = queue.take(one.nowMs, one.max);
            for (const at of wanted) model.delete(at);
          }
          expect(taken).toEqual(wanted);
          expect([queue.size, queue.nextMs()]).toEqual([model.size, sorted()[0]?.[1] ?? null]);
          for (let at = 0; at <= 20; at++) expect(queue.has(at)).toBe(model.has(at));
        }
      }),
    );
  });
});

describe('keys held back', () => {
  it('are held while something fails, holds or waits, free when only those wait that are not handed out, else forgotten', () => {
    const kinds = [
      'fail',
      'recover',
      'startHolding',
      'stopHolding',
      'hold',
      'handOut',
      'takeBack',
      'settleWaiting',
      'restoreWaiting',
    ] as const;
    const action = fc.record({ kind: fc.constantFrom(...kinds), key: fc.constantFrom('a', 'b') });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
        const held = new HeldKeys();
        const model = new Map(['a', 'b'].map((key) => [key, { failing: 0, holding: 0, waiting: 0, out: 0, taken: 0 }]));
        for (const { kind, key } of actions) {
          const one = model.get(key) as { failing: number; holding: number; waiting: number; out: number };
          // Only what can happen: nothing is taken back that was not given.
          if (kind === 'fail') one.failing++;
          else if (kind === 'recover' && one.failing > 0) one.failing--;
          else if (kind === 'startHolding') one.holding++;
          else if (kind === 'stopHolding' && one.holding > 0) one.holding--;
          else if (kind === 'hold') one.waiting++;
          else if (kind === 'handOut' && one.failing + one.holding + one.out === 0 && one.waiting > 0)
            one.out = one.waiting;
          else if (kind === 'takeBack' && one.out > 0) one.out--;
          else if (kind === 'settleWaiting' && one.out > 0) {
            one.out--;
            one.waiting--;
          } else if (kind === 'restoreWaiting' && one.out > 0) {
            one.out++;
            one.waiting++;
          } else continue;
          if (kind === 'handOut') {
            held.handOut(key, one.waiting);
          } else held[kind](key);
          for (const [name, { failing, holding, waiting, out }] of model) {
            expect(held.isHeld(name)).toBe(failing + holding + waiting > 0);
            expect(held.free.has(name)).toBe(failing + holding + out === 0 && waiting > 0);
          }
          expect(held.size).toBe(
            [...model.values()].filter((each) => each.failing + each.holding + each.waiting > 0).length,
          );
          expect(held.hasFree()).toBe(held.free.size > 0);
        }
      }),
    );
  });
});
