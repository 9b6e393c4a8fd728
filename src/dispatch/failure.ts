import { shouldRetry, type AttemptRecord, type ResolvedStrategy } from '../core/index.ts';
import type { Settlement } from '../engine/index.ts';
import type { AttemptSignal } from './signals.ts';

/** What is known when an attempt has failed. */
export interface Failure {
  readonly strategy: ResolvedStrategy;
  readonly attempt: number;
  readonly error: Error;
  /** What the handler asked for, if it did. */
  readonly chosen: AttemptSignal | null;
  readonly nowMs: number;
  readonly startedMs: number;
  readonly recordedMs: number;
  readonly worker: string;
  readonly random: number;
}

/** Stack lines kept with an attempt's record: enough to find the place. */
const STACK_LINES = 8;
/** UTF-16 units of an error message kept. */
const MESSAGE_MAX = 2000;

/** What becomes of a delivery whose attempt failed: tried again, or dead. */
export function settlementOf(failure: Failure): Extract<Settlement, { type: 'retry' | 'dead' }> {
  const { strategy, attempt, error, chosen, nowMs, recordedMs } = failure;
  const record = recordOf(failure);
  const dead = { type: 'dead', record, keep: strategy.deadLetter === 'keep' } as const;
  if (chosen?.kind === 'give-up') return dead;
  if (chosen?.kind === 'retry-later') {
    return attempt < strategy.retry.attemptsMax ? { type: 'retry', dueMs: nowMs + chosen.delayMs, record } : dead;
  }
  if (!shouldRetry(strategy.retry, attempt, nowMs - recordedMs, error)) return dead;
  return { type: 'retry', dueMs: nowMs + strategy.retry.delayMs(attempt, failure.random), record };
}

export function recordOf({ attempt, error, nowMs, startedMs, worker }: Failure): AttemptRecord {
  const code = (error as { code?: unknown }).code;
  return {
    attempt,
    atMs: nowMs,
    durationMs: Math.max(0, nowMs - startedMs),
    worker,
    error: {
      name: error.name,
      message: error.message.slice(0, MESSAGE_MAX),
      ...(typeof code === 'string' ? { code } : {}),
      ...(error.stack ? { stack: error.stack.split('\n').slice(0, STACK_LINES).join('\n') } : {}),
    },
  };
}
