import { carillonError } from '../core/index.ts';

/**
 * How a handler ends its attempt by intent rather than by error. `context.retryLater` and `context.giveUp` throw one of
 * these; the attempt remembers it too, so that a handler that catches everything cannot swallow it by accident.
 */
export type AttemptSignal =
  | { readonly kind: 'retry-later'; readonly delayMs: number; readonly error: Error }
  | { readonly kind: 'give-up'; readonly error: Error };

export function retryLaterSignal(delayMs: number, reason: string | undefined): AttemptSignal {
  if (!(delayMs >= 0) || !Number.isFinite(delayMs)) {
    throw carillonError('CARILLON_OPTION_INVALID', `retryLater takes ms from 0, not ${String(delayMs)}`, {
      option: 'delayMs',
    });
  }
  const error = new Error(reason ?? `the handler asked for another attempt in ${delayMs} ms`);
  error.name = 'RetryLater';
  return { kind: 'retry-later', delayMs, error };
}

export function giveUpSignal(reason: string): AttemptSignal {
  return { kind: 'give-up', error: carillonError('CARILLON_GAVE_UP', `the handler gave up: ${reason}`, { reason }) };
}
