import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from './clock.ts';

const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('systemClock', () => {
  it.each([1, 1000, LONGEST_TIMEOUT_MS, LONGEST_TIMEOUT_MS + 1, 3 * LONGEST_TIMEOUT_MS + 5])(
    'waits %d ms, no less and no more',
    (delayMs) => {
      const run = vi.fn<() => void>();
      systemClock.setTimer(delayMs, run);
      vi.advanceTimersByTime(Math.max(0, delayMs - 1));
      const early = run.mock.calls.length;
      vi.advanceTimersByTime(1);
      expect(early).toBe(0);
      expect(run).toHaveBeenCalledTimes(1);
      expect(vi.getTimerCount()).toBe(0);
    },
  );

  it('calls at once for a delay that is past', () => {
    const run = vi.fn<() => void>();
    systemClock.setTimer(-5, run);
    vi.advanceTimersByTime(1);
    expect(run).toHaveBeenCalledTimes(1);
  });

  it('forgets a cancelled call, in its first step, in a later one, and after it was made', () => {
    const run = vi.fn<() => void>();
    systemClock.setTimer(1000, run).cancel();
    const late = systemClock.setTimer(2 * LONGEST_TIMEOUT_MS, run);
    vi.advanceTimersByTime(LONGEST_TIMEOUT_MS + 1);
    expect(vi.getTimerCount()).toBe(1);
    late.cancel();
    expect(vi.getTimerCount()).toBe(0);
    const done = systemClock.setTimer(1, run);
    vi.advanceTimersByTime(1);
    done.cancel();
    expect(run).toHaveBeenCalledTimes(1);
  });

  it('tells the time, and durations', () => {
    const [now, monotonic] = [systemClock.now(), systemClock.monotonic()];
    vi.advanceTimersByTime(250);
    expect([systemClock.now() - now, systemClock.monotonic() - monotonic]).toEqual([250, 250]);
  });

  it('defers to a later turn', async () => {
    const seen: string[] = [];
    await new Promise<void>((resolve) => {
      systemClock.defer(() => {
        seen.push('deferred');
        resolve();
      });
      void Promise.resolve().then(() => seen.push('microtask'));
      seen.push('now');
    });
    expect(seen).toEqual(['now', 'microtask', 'deferred']);
  });
});
