import { describe, expect, it } from 'vitest';
import { carillonError, fixed, resolveStrategy, type Strategy } from '../core/index.ts';
import { recordOf, settlementOf, type Failure } from './failure.ts';
import { giveUpSignal, retryLaterSignal } from './signals.ts';

const failure = (strategy: Strategy, given: Partial<Failure> = {}): Failure => ({
  strategy: resolveStrategy(strategy, { batchHandler: false, of: 'm.h' }),
  attempt: 1,
  error: new Error('no luck'),
  chosen: null,
  nowMs: 10_000,
  startedMs: 9_900,
  recordedMs: 9_000,
  worker: 'w',
  random: 0.5,
  ...given,
});

const busy = Object.assign(new Error('busy'), { name: 'BusyError', code: 'E_BUSY' });
const retry = (given: object = {}): Strategy => ({ retry: fixed({ delayMs: 50, attemptsMax: 3, ...given }) });

describe('settlementOf', () => {
  it.each<[string, Failure, object]>([
    ['an attempt that is left', failure(retry()), { type: 'retry', dueMs: 10_050 }],
    ['the last attempt', failure(retry(), { attempt: 3 }), { type: 'dead', keep: true }],
    ['more attempts than there are', failure(retry(), { attempt: 4 }), { type: 'dead' }],
    ['no retry', failure({ retry: { kind: 'none' } }), { type: 'dead' }],
    ['jitter', failure({ retry: { kind: 'exponential', initialMs: 100 } }), { type: 'retry', dueMs: 10_050 }],
    ['giveUp', failure(retry(), { chosen: giveUpSignal('no') }), { type: 'dead', keep: true }],
    ['retryLater', failure(retry(), { chosen: retryLaterSignal(7, 'x') }), { type: 'retry', dueMs: 10_007 }],
    [
      'retryLater at the last attempt',
      failure(retry(), { chosen: retryLaterSignal(7, 'x'), attempt: 3 }),
      { type: 'dead' },
    ],
    [
      'retryLater of an error never retried',
      failure(retry({ never: ['Error'] }), { chosen: retryLaterSignal(0, undefined) }),
      { type: 'retry', dueMs: 10_000 },
    ],
    ['an error never retried', failure(retry({ never: ['BusyError'] }), { error: busy }), { type: 'dead' }],
    ['a code never retried', failure(retry({ never: ['E_BUSY'] }), { error: busy }), { type: 'dead' }],
    ['an error not among those retried', failure(retry({ only: ['Other'] }), { error: busy }), { type: 'dead' }],
    ['one of those retried', failure(retry({ only: ['E_BUSY'] }), { error: busy }), { type: 'retry' }],
    ['an event young enough', failure(retry({ maxAgeMs: 1001 })), { type: 'retry' }],
    ['an event too old', failure(retry({ maxAgeMs: 1000 })), { type: 'dead' }],
    [
      'a dead letter to discard',
      failure({ ...retry(), deadLetter: 'discard' }, { attempt: 3 }),
      { type: 'dead', keep: false },
    ],
  ])('%s', (_what, given, expected) => {
    const settlement = settlementOf(given);
    expect(settlement).toMatchObject(expected);
    expect(settlement.record).toEqual(recordOf(given));
  });
});

describe('recordOf', () => {
  it('tells attempt, time, worker and error', () => {
    const record = recordOf(failure(retry(), { error: busy, attempt: 2 }));
    expect(record).toMatchObject({
      attempt: 2,
      atMs: 10_000,
      durationMs: 100,
      worker: 'w',
      error: { name: 'BusyError', message: 'busy', code: 'E_BUSY' },
    });
    expect(record.error.stack).toContain('busy');
  });

  it('leaves out a code that is no text, and a stack that is not there', () => {
    const error = Object.assign(new Error('x'), { code: 7 });
    delete error.stack;
    expect(recordOf(failure(retry(), { error })).error).toEqual({ name: 'Error', message: 'x' });
  });

  it('keeps a bounded part of message and stack', () => {
    const error = new Error('m'.repeat(5000));
    error.stack = Array.from({ length: 50 }, (_, line) => `line ${line}`).join('\n');
    const kept = recordOf(failure(retry(), { error })).error;
    expect(kept.message.length).toBe(2000);
    expect(kept.stack?.split('\n')).toEqual(Array.from({ length: 8 }, (_, line) => `line ${line}`));
  });

  it('never tells a negative duration, though the clock was set back', () => {
    expect(recordOf(failure(retry(), { startedMs: 20_000 })).durationMs).toBe(0);
  });
});

describe('signals', () => {
  it.each([-1, Number.NaN, Infinity, 'soon', undefined])('retryLater refuses a delay of %s', (delayMs) => {
    expect(() => retryLaterSignal(delayMs as number, 'x')).toThrow(
      expect.objectContaining({ code: 'CARILLON_OPTION_INVALID' }),
    );
  });

  it('retryLater has the reason, or tells the delay', () => {
    expect(retryLaterSignal(5, 'locked').error).toMatchObject({ name: 'RetryLater', message: 'locked' });
    expect(retryLaterSignal(5, undefined).error.message).toContain('5 ms');
  });

  it('giveUp is an error of the catalogue with the reason', () => {
    const { error } = giveUpSignal('no such machine');
    expect(error).toMatchObject({ code: 'CARILLON_GAVE_UP', details: { reason: 'no such machine' } });
    expect(error.message).toBe(carillonError('CARILLON_GAVE_UP', 'the handler gave up: no such machine').message);
  });
});
