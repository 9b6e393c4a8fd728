import { carillonError, isCarillonError } from '../../core/index.ts';

/** A refusal of the store that will pass: a full disk, a busy database, one that cannot be reached. */
export function isPassing(error: Error): boolean {
  return (
    isCarillonError(error) && error.kind === 'storage' && error.retryable && error.code !== 'CARILLON_ENGINE_FAILED'
  );
}

/** The end of the store, as those are told who wait for it: it is none's own fault, so what they asked may be asked again. */
export function failureOf(error: Error): Error {
  if (!isCarillonError(error) || error.kind !== 'usage') return error;
  return carillonError('CARILLON_ENGINE_FAILED', error.message, { ...error.details, code: error.code }, error);
}
