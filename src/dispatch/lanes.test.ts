import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Delivery } from '../engine/index.ts';
import { type Lane, Lanes } from './lanes.ts';

const delivery = (position: number, key: string | null = null): Delivery => ({ position, key }) as Delivery;

function startOne(lanes: Lanes): { lane: Lane; position: number } | null {
  if (!lanes.peek()) return null;
  const lane = lanes.start();
  const next = lane.shift();
  lanes.started(lane, 1);
  return { lane, position: next?.position ?? -1 };
}

const add = (lanes: Lanes, position: number, key: string | null): void => lanes.add(delivery(position, key), key);

describe('Lanes', () => {
  it('let one of a key run at a time, in order, and keys beside each other', () => {
    const lanes = new Lanes(1);
    for (const [position, key] of [
      [1, 'a'],
      [2, 'a'],
      [3, 'b'],
      [4, 'a'],
    ] as const)
      add(lanes, position, key);
    const first = startOne(lanes);
    const second = startOne(lanes);
    expect([first?.position, second?.position, startOne(lanes)]).toEqual([1, 3, null]);
    lanes.done(first?.lane as Lane);
    expect(startOne(lanes)?.position).toBe(2);
    expect([lanes.waiting, lanes.startable]).toEqual([1, 0]);
  });

  it('let events without a key run beside each other', () => {
    const lanes = new Lanes(1);
    for (const position of [1, 2, 3]) add(lanes, position, null);
    expect([1, 2, 3].map(() => startOne(lanes)?.position)).toEqual([1, 2, 3]);
    expect(lanes.byKey.size).toBe(0);
  });

  it('take no notice of keys without a limit', () => {
    const lanes = new Lanes(Infinity);
    for (const position of [1, 2]) add(lanes, position, 'a');
    expect([startOne(lanes)?.position, startOne(lanes)?.position]).toEqual([1, 2]);
  });

  it('let as many of a key run as the limit says', () => {
    const lanes = new Lanes(2);
    for (const position of [1, 2, 3]) add(lanes, position, 'a');
    const first = startOne(lanes);
    expect([startOne(lanes)?.position, startOne(lanes)]).toEqual([2, null]);
    lanes.done(first?.lane as Lane);
    expect(startOne(lanes)?.position).toBe(3);
  });

  it('forget a lane that has no more work', () => {
    const lanes = new Lanes(1);
    add(lanes, 1, 'a');
    const { lane } = startOne(lanes) as { lane: Lane };
    expect(lanes.byKey.size).toBe(1);
    lanes.done(lane);
    expect(lanes.byKey.size).toBe(0);
  });

  it('give back what waits in one lane', () => {
    const lanes = new Lanes(1);
    for (const [position, key] of [
      [1, 'a'],
      [2, 'a'],
      [3, 'a'],
      [4, 'b'],
    ] as const)
      add(lanes, position, key);
    const { lane } = startOne(lanes) as { lane: Lane };
    expect(lanes.clear(lane).map(({ position }) => position)).toEqual([2, 3]);
    expect([lanes.waiting, lanes.startable]).toEqual([1, 1]);
    lanes.done(lane);
    expect([...lanes.byKey.keys()]).toEqual(['b']);
  });

  it('pass over a lane that was emptied while it was listed, and take it up again', () => {
    const lanes = new Lanes(1);
    add(lanes, 1, 'a');
    add(lanes, 2, 'b');
    expect(lanes.clear(lanes.laneOf('a')).map(({ position }) => position)).toEqual([1]);
    expect(lanes.startable).toBe(1);
    expect(lanes.peek()?.key).toBe('b');
    add(lanes, 3, 'a');
    expect([startOne(lanes)?.position, startOne(lanes)?.position]).toEqual([2, 3]);
  });

  it('keep one lane a key when the last of several that ran is done after the rest was taken back', () => {
    const lanes = new Lanes(2);
    add(lanes, 1, 'a');
    const { lane } = startOne(lanes) as { lane: Lane };
    add(lanes, 2, 'a');
    lanes.clear(lane);
    lanes.done(lane);
    for (const position of [3, 4, 5]) add(lanes, position, 'a');
    expect([startOne(lanes)?.position, startOne(lanes)?.position, startOne(lanes)]).toEqual([3, 4, null]);
    expect(lanes.byKey.size).toBe(1);
  });

  it('give back all that waits', () => {
    const lanes = new Lanes(1);
    for (const [position, key] of [
      [1, 'a'],
      [2, 'a'],
      [3, null],
      [4, 'b'],
    ] as const)
      add(lanes, position, key);
    startOne(lanes);
    expect(
      lanes
        .clearAll()
        .map(({ position }) => position)
        .toSorted((a, b) => a - b),
    ).toEqual([2, 3, 4]);
    expect([lanes.waiting, lanes.startable, lanes.peek()]).toEqual([0, 0, undefined]);
  });

  it('give back what is wanted, wherever it waits, and keep the rest in order', () => {
    const lanes = new Lanes(1);
    for (const [position, key] of [
      [1, 'a'],
      [2, 'a'],
      [3, null],
      [4, 'b'],
      [5, 'a'],
      [6, null],
    ] as const)
      add(lanes, position, key);
    const { lane } = startOne(lanes) as { lane: Lane };
    const wanted = new Set([2, 3, 4]);
    expect(
      lanes
        .remove(({ position }) => wanted.has(position))
        .map(({ position }) => position)
        .toSorted((a, b) => a - b),
    ).toEqual([2, 3, 4]);
    expect([lanes.waiting, lanes.startable]).toEqual([2, 1]);
    expect([startOne(lanes)?.position, startOne(lanes)]).toEqual([6, null]);
    lanes.done(lane);
    expect(startOne(lanes)?.position).toBe(5);
  });

  it('tell what comes next without taking it', () => {
    const lanes = new Lanes(1);
    for (const [position, key] of [
      [1, 'a'],
      [2, 'a'],
      [3, 'b'],
    ] as const)
      add(lanes, position, key);
    expect([...lanes.upcoming(9)].map(({ position }) => position)).toEqual([1, 2, 3]);
    expect([...lanes.upcoming(2)].map(({ position }) => position)).toEqual([1, 2]);
    expect([...lanes.upcoming(0)]).toEqual([]);
    expect(lanes.waiting).toBe(3);
  });

  it('count right and keep order, whatever happens', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), key: fc.constantFrom('a', 'b', 'c', null) }),
      fc.record({ kind: fc.constantFrom('start' as const, 'done' as const, 'clear' as const, 'remove' as const) }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), fc.array(step, { maxLength: 80, size: 'max' }), (limit, steps) => {
        const lanes = new Lanes(limit);
        const running: Lane[] = [];
        const startedLast = new Map<string, number>();
        let position = 0;
        let waiting = 0;
        let inOrder = true;
        for (const given of steps) {
          if (given.kind === 'add') {
            add(lanes, ++position, given.key);
            waiting++;
          } else if (given.kind === 'start') {
            const started = startOne(lanes);
            if (!started) continue;
            waiting--;
            running.push(started.lane);
            const key = started.lane.key ?? `none ${started.position}`;
            inOrder &&= started.position > (startedLast.get(key) ?? 0);
            startedLast.set(key, started.position);
          } else if (given.kind === 'remove') {
            waiting -= lanes.remove((one) => one.position % 3 === 0).length;
          } else if (running[0]) {
            if (given.kind === 'clear') waiting -= lanes.clear(running[0]).length;
            else lanes.done(running.shift() as Lane);
          }
          for (const key of ['a', 'b', 'c']) {
            expect(running.filter((lane) => lane.key === key).length).toBeLessThanOrEqual(limit);
          }
          expect(lanes.waiting).toBe(waiting);
          expect([...lanes.upcoming(1e6)].length).toBe(lanes.startable);
        }
        expect([lanes.clearAll().length, inOrder]).toEqual([waiting, true]);
      }),
      { numRuns: 1000 },
    );
  });
});
