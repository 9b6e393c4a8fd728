import { describe, expect, it } from 'vitest';
import { fakeClock, realTurn } from './fake-clock.ts';

describe('fakeClock', () => {
  it('stands still until it is told to go on', async () => {
    const clock = fakeClock(1000);
    await realTurn();
    expect([clock.now(), clock.monotonic()]).toEqual([1000, 0]);
    await clock.advance(50);
    expect([clock.now(), clock.monotonic()]).toEqual([1050, 50]);
  });

  it('runs timers in order of their moments, each at its own, and of two at once the one set first', async () => {
    const clock = fakeClock(0);
    const told: string[] = [];
    const tell = (name: string) => () => void told.push(`${name}@${clock.now()}`);
    clock.setTimer(30, tell('c'));
    clock.setTimer(10, tell('a'));
    clock.setTimer(30, tell('d'));
    clock.setTimer(20, tell('b'));
    clock.setTimer(31, tell('late'));
    await clock.advance(30);
    expect(told).toEqual(['a@10', 'b@20', 'c@30', 'd@30']);
    expect(clock.timers).toBe(1);
  });

  it('runs timers set on the way, and lets promises and deferred calls settle between', async () => {
    const clock = fakeClock(0);
    const told: string[] = [];
    clock.setTimer(10, () => {
      void Promise.resolve().then(() => {
        told.push(`promise@${clock.now()}`);
        clock.defer(() => {
          told.push(`deferred@${clock.now()}`);
          clock.setTimer(5, () => told.push(`nested@${clock.now()}`));
        });
      });
    });
    clock.setTimer(20, () => told.push(`last@${clock.now()}`));
    await clock.advance(20);
    expect(told).toEqual(['promise@10', 'deferred@10', 'nested@15', 'last@20']);
  });

  it('forgets a timer that was cancelled, and treats a negative delay as none', async () => {
    const clock = fakeClock();
    const told: string[] = [];
    const timer = clock.setTimer(10, () => told.push('cancelled'));
    clock.setTimer(-5, () => told.push('at once'));
    timer.cancel();
    timer.cancel();
    await clock.advance(0);
    expect(told).toEqual(['at once']);
    await clock.advance(100);
    expect(told).toEqual(['at once']);
  });

  it('goes on to the next timer only, if it is near enough', async () => {
    const clock = fakeClock(0);
    clock.setTimer(100, () => undefined);
    expect(await clock.advanceToNext(99)).toBe(false);
    expect(clock.now()).toBe(0);
    expect(await clock.advanceToNext(100)).toBe(true);
    expect(clock.now()).toBe(100);
    expect(await clock.advanceToNext()).toBe(false);
  });

  it('waits with each turn for what its maker added', async () => {
    let answers = 0;
    let asked = 3;
    const clock = fakeClock(0, {
      turn: async () => {
        await realTurn();
        // Each answer leads to the next question, as a worker thread's would.
        if (asked > 0) clock.defer(() => void (asked--, answers++));
      },
    });
    await clock.settle();
    expect(answers).toBe(3);
  });

  it('forgets timers and deferred calls at a reset, and keeps the time', async () => {
    const clock = fakeClock(0);
    const told: string[] = [];
    await clock.advance(10);
    clock.setTimer(1, () => told.push('timer'));
    clock.defer(() => told.push('deferred'));
    clock.reset();
    await clock.advance(10);
    expect([told, clock.now(), clock.timers]).toEqual([[], 20, 0]);
  });
});
