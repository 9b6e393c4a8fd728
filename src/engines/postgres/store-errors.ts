import { carillonError, isCarillonError, toError } from '../../core/index.ts';
import { sqlStateOf } from '../../postgres/index.ts';

/** Raised by our own functions: this process was declared dead by the others. */
const FENCED = 'CA001';
/** Raised by our own functions: retention has removed what is asked for. */
const REMOVED = 'CA003';
/** Raised by our own functions: the commit before it on its connection was not applied. */
const UNFOLLOWED = 'CA002';

export const isUnfollowed = (thrown: unknown): boolean => sqlStateOf(thrown) === UNFOLLOWED;

/** What the database said of a statement of the engine's own, in words of the catalogue. */
export function storeError(thrown: unknown): Error {
  if (isCarillonError(thrown)) return thrown;
  const error = toError(thrown);
  const sqlState = sqlStateOf(thrown);
  if (sqlState === FENCED) return carillonError('CARILLON_LEASE_LOST', error.message, {}, error);
  if (sqlState === REMOVED) return carillonError('CARILLON_GAP', error.message, {}, error);
  if (sqlState === undefined) return error;
  return carillonError(
    'CARILLON_ENGINE_FAILED',
    `the database refused what it must not: ${error.message}`,
    { sqlState },
    error,
  );
}

/** What the database said of a handler's statement. */
export function statementError(thrown: unknown): Error {
  const sqlState = sqlStateOf(thrown);
  if (isCarillonError(thrown) || sqlState === undefined) return toError(thrown);
  const error = toError(thrown);
  return carillonError('CARILLON_TRANSACTION_FAILED', error.message, { sqlState }, error);
}
