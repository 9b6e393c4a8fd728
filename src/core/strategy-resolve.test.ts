import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isCarillonError, type CarillonError } from './errors.ts';
import { exponential, fixed, list, noRetry } from './retry.ts';
import { resolveStrategy } from './strategy-resolve.ts';
import type { ResolvedStrategy, Strategy } from './strategy.ts';

const resolve = (strategy: unknown, batchHandler = false): ResolvedStrategy =>
  resolveStrategy(strategy as Strategy, { batchHandler, of: 'm.h' });

function refused(strategy: unknown, batchHandler = false): CarillonError {
  try {
    resolve(strategy, batchHandler);
  } catch (error) {
    if (isCarillonError(error, 'CARILLON_STRATEGY_INVALID')) return error;
    throw error;
  }
  throw new Error('the strategy was not refused');
}

const optionsRefused = (strategy: unknown, batchHandler = false): string[] =>
  (refused(strategy, batchHandler).details['problems'] as { option: string }[]).map(({ option }) => option);

/** A resolved strategy as something to compare: its delays in place of the function. */
const comparable = ({ retry, ...rest }: ResolvedStrategy): unknown => ({
  ...rest,
  retry: { ...retry, delayMs: [1, 2, 3, 10, 2000].map((attempt) => retry.delayMs(attempt, 0.5)) },
});

describe('resolveStrategy', () => {
  it('fills in the documented defaults', () => {
    const strategy = resolve({});
    expect(strategy).toMatchObject({
      order: 'key',
      concurrency: { all: 16, perKey: 1 },
      retry: { attemptsMax: 5, maxAgeMs: Infinity, only: null, never: [] },
      timeoutMs: 30_000,
      batch: null,
      onDead: 'continue',
      deadLetter: 'keep',
      expiry: null,
    });
    expect([1, 2, 3, 7, 2000].map((attempt) => strategy.retry.delayMs(attempt, 0.5))).toEqual([
      500, 1000, 2000, 30_000, 30_000,
    ]);
    expect(resolve({}, true).batch).toEqual({ size: 100, waitMs: 0 });
    expect(resolve({ batch: { size: 7 } }, true).batch).toEqual({ size: 7, waitMs: 0 });
    expect(resolve({ order: 'none' }).concurrency).toEqual({ all: 16, perKey: Infinity });
    expect(resolve({ order: 'total' }).concurrency).toEqual({ all: 1, perKey: 1 });
    expect(resolve({ order: 'none', concurrency: { perKey: 2 } }).concurrency).toEqual({ all: 16, perKey: 2 });
    expect(resolve({ concurrency: 3, timeoutMs: undefined }).concurrency).toEqual({ all: 3, perKey: 1 });
  });

  it('takes what comes out of JSON', () => {
    const strategy: Strategy = {
      order: 'total',
      concurrency: { all: 1, perKey: 1 },
      retry: exponential({ attemptsMax: 9, jitter: 'none', only: ['Busy'], never: ['Gone'] }),
      timeoutMs: 5,
      onDead: 'hold',
      expiry: { maxAgeMs: 10 },
    };
    expect(comparable(resolve(JSON.parse(JSON.stringify(strategy))))).toEqual(comparable(resolve(strategy)));
    const text = '{"retry":{"kind":"fixed","delayMs":1,"attemptsMax":"Infinity","maxAgeMs":"Infinity"}}';
    expect(resolve(JSON.parse(text)).retry).toMatchObject({ attemptsMax: Infinity, maxAgeMs: Infinity });
  });

  it.each<[unknown, string[]]>([
    [null, ['strategy']],
    ['key', ['strategy']],
    [{ order: 'keys' }, ['order']],
    [{ order: null }, ['order']],
    [{ concurrency: 0 }, ['concurrency']],
    [{ concurrency: '4' }, ['concurrency']],
    [{ concurrency: { all: 1.5, perkey: 1 } }, ['concurrency.perkey', 'concurrency.all']],
    [{ order: 'total', concurrency: 2 }, ['concurrency']],
    [{ order: 'total', concurrency: { all: 2 } }, ['concurrency.all']],
    [{ order: 'key', concurrency: { perKey: 2 } }, ['concurrency.perKey']],
    [{ concurrency: { perKey: 2 } }, ['concurrency.perKey']],
    [{ timeoutMs: 0 }, ['timeoutMs']],
    [{ timeoutMs: Infinity }, ['timeoutMs']],
    [{ batch: { size: 2 } }, ['batch']],
    [{ onDead: 'hold', order: 'none' }, ['onDead']],
    [{ onDead: 'hold', deadLetter: 'discard' }, ['onDead']],
    [{ expiry: {} }, ['expiry.maxAgeMs']],
    [{ expiry: 5 }, ['expiry']],
    [{ retry: {} }, ['retry.kind']],
    [{ retry: 'none' }, ['retry']],
    [{ retry: { kind: 'none', attemptsMax: 3 } }, ['retry.attemptsMax']],
    [{ retry: { kind: 'fixed' } }, ['retry.delayMs']],
    [{ retry: fixed({ delayMs: -1 }) }, ['retry.delayMs']],
    [{ retry: fixed({ delayMs: 1, attemptsMax: 0 }) }, ['retry.attemptsMax']],
    [{ retry: fixed({ delayMs: 1, attemptsMax: Number.NaN }) }, ['retry.attemptsMax']],
    [{ retry: exponential({ factor: 0.5 }) }, ['retry.factor']],
    [{ retry: exponential({ initialMs: 10, maxMs: 5 }) }, ['retry.maxMs']],
    [{ retry: { kind: 'exponential', jitter: 'some' } }, ['retry.jitter']],
    [{ retry: exponential({ only: [] }) }, ['retry.only']],
    [{ retry: exponential({ only: ['A', 'B'], never: ['B'] }) }, ['retry.never']],
    [{ retry: { kind: 'exponential', never: 'A' } }, ['retry.never']],
    [{ retry: list([]) }, ['retry.delaysMs']],
    [{ retry: list([1, -1]) }, ['retry.delaysMs[1]']],
    [{ retry: { ...list([1]), attemptsMax: 2 } }, ['retry.attemptsMax']],
  ])('refuses %j', (strategy, options) => {
    expect(optionsRefused(strategy)).toEqual(options);
  });

  it('refuses a batch of nothing', () => {
    expect(optionsRefused({ batch: { size: 0, waitMs: -1 } }, true)).toEqual(['batch.size', 'batch.waitMs']);
    expect(optionsRefused({ batch: {} }, true)).toEqual(['batch.size']);
  });

  it('tells everything at once, and what was probably meant', () => {
    const error = refused({
      timeoutMS: 5,
      order: 'x',
      retry: { kind: 'exponential', attempts: 3, initalMs: 1 },
      qqqqqqqqq: 1,
    });
    expect(error.message).toBe(
      'the strategy of m.h is not valid: qqqqqqqqq: is no option; timeoutMS: is no option; did you mean "timeoutMs"?; ' +
        'order: must be "key" or "none" or "total", not "x"; retry.attempts: is no option; did you mean ' +
        '"retry.attemptsMax"?; retry.initalMs: is no option; did you mean "retry.initialMs"?',
    );
    expect(error.details['of']).toBe('m.h');
  });

  it('never depends on the order in which options are written', () => {
    const retry = fc.oneof(
      fc.constant(noRetry()),
      fc.record(
        { kind: fc.constant('fixed'), delayMs: fc.integer({ min: -1 }), attemptsMax: fc.nat(3) },
        { requiredKeys: ['kind'] },
      ),
      fc.record(
        { kind: fc.constant('exponential'), initialMs: fc.nat(), maxMs: fc.nat(), wrong: fc.nat() },
        { requiredKeys: ['kind'] },
      ),
    );
    const strategies = fc.record(
      {
        order: fc.constantFrom('key', 'none', 'total', 'other'),
        concurrency: fc.oneof(fc.nat(2), fc.record({ all: fc.nat(2), perKey: fc.nat(2) }, { requiredKeys: [] })),
        retry,
        timeoutMs: fc.nat(2),
        onDead: fc.constantFrom('continue', 'hold'),
        deadLetter: fc.constantFrom('keep', 'discard'),
        b: fc.nat(),
        a: fc.nat(),
      },
      { requiredKeys: [] },
    );
    const reversed = (value: unknown): unknown =>
      typeof value === 'object' && value !== null
        ? Object.fromEntries(
            Object.entries(value)
              .toReversed()
              .map(([name, member]) => [name, reversed(member)]),
          )
        : value;
    const outcome = (strategy: unknown): unknown => {
      try {
        return comparable(resolve(strategy));
      } catch (error) {
        return (error as Error).message;
      }
    };
    fc.assert(
      fc.property(strategies, (strategy) => {
        expect(outcome(reversed(strategy))).toEqual(outcome(strategy));
      }),
      { numRuns: 1_000 },
    );
  });
});
