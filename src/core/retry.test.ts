import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exponential, fixed, list, noRetry, shouldRetry } from './retry.ts';
import { resolveStrategy } from './strategy-resolve.ts';
import type { ResolvedRetry, Retry } from './strategy.ts';

const resolved = (retry: Retry): ResolvedRetry => resolveStrategy({ retry }, { batchHandler: false, of: 'm.h' }).retry;
/** 1 is never reached, as with Math.random. */
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('delays', () => {
  it('are what was asked for', () => {
    const delays = (retry: Retry): number[] => [1, 2, 3, 4].map((attempt) => resolved(retry).delayMs(attempt, 0.5));
    expect(delays(fixed({ delayMs: 7 }))).toEqual([7, 7, 7, 7]);
    expect(delays(list([1, 5]))).toEqual([1, 5, 5, 5]);
    expect(delays(exponential({ initialMs: 10, factor: 3, maxMs: 100, jitter: 'none' }))).toEqual([10, 30, 90, 100]);
    expect(delays(exponential({ initialMs: 10, factor: 3, maxMs: 100 }))).toEqual([5, 15, 45, 50]);
    expect(delays(exponential({ maxMs: 500, jitter: 'none' }))).toEqual([500, 500, 500, 500]);
    expect(delays(exponential({ initialMs: 90_000, jitter: 'none' }))).toEqual([90_000, 90_000, 90_000, 90_000]);
  });

  it('stay whole and within bounds, at any attempt', () => {
    const options = fc.record({
      initialMs: fc.nat(1_000_000),
      more: fc.nat(1_000_000),
      factor: fc.double({ min: 1, max: 1e6, noNaN: true }),
      jitter: fc.constantFrom('full' as const, 'none' as const),
    });
    fc.assert(
      fc.property(options, fc.integer({ min: 1, max: 1_000_000 }), random, ({ more, ...given }, attempt, part) => {
        const maxMs = given.initialMs + more;
        const delay = resolved(exponential({ ...given, maxMs })).delayMs(attempt, part);
        expect(Number.isInteger(delay) && delay >= 0 && delay <= maxMs).toBe(true);
      }),
    );
  });

  it('with full jitter cover all from 0 up to the delay, and do not reach it', () => {
    const { delayMs } = resolved(exponential({ initialMs: 8 }));
    const seen = new Set<number>();
    fc.assert(fc.property(random, (part) => delayMs(1, part) < 8));
    for (let part = 0; part < 1; part += 1 / 64) seen.add(delayMs(1, part));
    expect([...seen]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });
});

describe('shouldRetry', () => {
  const error = Object.assign(new Error('no'), { name: 'BusyError', code: 'E_BUSY' });

  it('counts attempts', () => {
    const retry = resolved(fixed({ delayMs: 1, attemptsMax: 3 }));
    expect([1, 2, 3, 4].map((attempt) => shouldRetry(retry, attempt, 0, error))).toEqual([true, true, false, false]);
    expect(shouldRetry(resolved(noRetry()), 1, 0, error)).toBe(false);
    expect([1, 2, 3].map((attempt) => shouldRetry(resolved(list([1, 1])), attempt, 0, error))).toEqual([
      true,
      true,
      false,
    ]);
    expect(shouldRetry(resolved(fixed({ delayMs: 1, attemptsMax: Infinity })), 1e9, 1e15, error)).toBe(true);
  });

  it('heeds the age', () => {
    const retry = resolved(fixed({ delayMs: 1, maxAgeMs: 100 }));
    expect([0, 99, 100].map((ageMs) => shouldRetry(retry, 1, ageMs, error))).toEqual([true, true, false]);
  });

  it.each([
    [{ only: ['BusyError'] }, true],
    [{ only: ['E_BUSY'] }, true],
    [{ only: ['Other'] }, false],
    [{ never: ['BusyError'] }, false],
    [{ never: ['E_BUSY'] }, false],
    [{ never: ['Other'] }, true],
    [{ only: ['BusyError'], never: ['E_BUSY'] }, false],
  ])('matches names and codes: %j', (bounds, expected) => {
    expect(shouldRetry(resolved(exponential(bounds)), 1, 0, error)).toBe(expected);
  });

  it('compares a numeric code as text', () => {
    const numeric = Object.assign(new Error('no'), { code: 503 });
    expect(shouldRetry(resolved(exponential({ only: ['503'] })), 1, 0, numeric)).toBe(true);
  });
});
