import { carillonError, isCarillonError, toError } from '../../core/index.ts';
import type { AnsweredElsewhere, Outcome } from '../engine.ts';
import type { Answer } from './sharing.ts';

/** An outcome as it goes to another process: `{"value": …}`, or `{"error": {"message", "code"}}`. */
export function encodeOutcome(outcome: Outcome): string {
  if ('error' in outcome) return errorText(outcome.error);
  try {
    return JSON.stringify({ value: outcome.value });
  } catch (thrown) {
    return errorText(
      carillonError('CARILLON_DATA_INVALID', `the answer cannot be written as JSON: ${toError(thrown).message}`),
    );
  }
}

function errorText(error: Error): string {
  const code = isCarillonError(error) ? error.code : undefined;
  return JSON.stringify({ error: { message: error.message, code } });
}

/** An answer that came from another process. */
export function decodeAnswer({ source, id, subscription, answer }: Answer): AnsweredElsewhere {
  const { value, error } = JSON.parse(answer) as { value?: unknown; error?: { message: string; code?: string } };
  if (error === undefined) return { source, id, subscription, outcome: { value } };
  const { message, code } = error;
  return { source, id, subscription, outcome: { error: Object.assign(new Error(message), code ? { code } : {}) } };
}
