import { carillonError, isCarillonError, toError, type ErrorCode } from '../core/index.ts';

/**
 * What PostgreSQL and the way to it say, in words of the catalogue. SQLSTATE codes: PostgreSQL's documentation,
 * appendix A.
 */
const bySqlState: Readonly<Record<string, ErrorCode>> = {
  '28000': 'CARILLON_DATABASE_LOGIN',
  '28P01': 'CARILLON_DATABASE_LOGIN',
  '3D000': 'CARILLON_DATABASE_UNKNOWN',
  '42501': 'CARILLON_DATABASE_RIGHTS',
  '25006': 'CARILLON_DATABASE_READ_ONLY',
  '53100': 'CARILLON_STORAGE_FULL',
  '40001': 'CARILLON_STORAGE_BUSY',
  '40P01': 'CARILLON_STORAGE_BUSY',
  '55P03': 'CARILLON_STORAGE_BUSY',
  // Too many connections, or out of memory: they pass.
  '53000': 'CARILLON_DATABASE_UNREACHABLE',
  '53200': 'CARILLON_DATABASE_UNREACHABLE',
  '53300': 'CARILLON_DATABASE_UNREACHABLE',
  // Ended by an administrator or a crash, starting up, or terminated while idle.
  '57P01': 'CARILLON_DATABASE_UNREACHABLE',
  '57P02': 'CARILLON_DATABASE_UNREACHABLE',
  '57P03': 'CARILLON_DATABASE_UNREACHABLE',
  '57P05': 'CARILLON_DATABASE_UNREACHABLE',
  '25P03': 'CARILLON_DATABASE_UNREACHABLE',
};

/** What `pg` says, without a code. */
const NO_PASSWORD = /client password must be a (non-empty )?string/;

/** What `pg` says of a server without TLS, without a code; and Node's codes for a certificate or handshake that is not right. */
const NO_TLS = /does not support SSL|establishing an SSL connection/;
const BAD_TLS = /CERT|^UNABLE_TO_|^HOSTNAME_MISMATCH$|^INVALID_CA$|^ERR_(SSL|TLS)_|^EPROTO$/;

const byConnection = /^(E[A-Z_]+|08.{3})$/;

interface DatabaseError extends Error {
  readonly code?: string;
  readonly severity?: string;
  readonly detail?: string;
}

/**
 * The catalogued error for what was thrown; one that is catalogued already stays as it is, and a statement that the
 * server refused for a reason of its own stays what `pg` made of it.
 * @param label the database, as people may see it
 * @param state `broken`: the connection is gone, so the outcome of what was under way is not known
 */
export function databaseError(thrown: unknown, label: string, state?: 'broken'): Error {
  if (isCarillonError(thrown)) return thrown;
  const error = toError(thrown) as DatabaseError;
  const code = codeOf(error, state);
  if (code === null) return error;
  const sqlState = error.severity === undefined ? {} : { sqlState: error.code };
  const message = NO_PASSWORD.test(error.message)
    ? 'the server asks for a password, and none was given'
    : error.message;
  return carillonError(code, `${label}: ${message}`, { database: label, ...sqlState }, error);
}

function codeOf(error: DatabaseError, state: 'broken' | undefined): ErrorCode | null {
  const known = error.code === undefined ? undefined : bySqlState[error.code];
  if (known) return known;
  if (error.severity === undefined) {
    if (NO_PASSWORD.test(error.message)) return 'CARILLON_DATABASE_LOGIN';
    if (NO_TLS.test(error.message) || BAD_TLS.test(error.code ?? '')) return 'CARILLON_DATABASE_TLS';
  }
  // An error of the server has a severity; all others are of the connection.
  if (error.severity === undefined || state === 'broken' || byConnection.test(error.code ?? '')) {
    return 'CARILLON_DATABASE_UNREACHABLE';
  }
  return null;
}

/** The SQLSTATE of an error, of a catalogued one's cause too; undefined when the server did not say it. */
export function sqlStateOf(error: unknown): string | undefined {
  const source = isCarillonError(error) ? error.cause : error;
  const { code, severity } = (source ?? {}) as Partial<DatabaseError>;
  return severity === undefined ? undefined : code;
}
