import { carillonError, isCarillonError, toError, type CarillonError } from '../../core/index.ts';

/** Primary result codes (sqlite.org/rescode.html); extended ones carry them in their low byte. */
const BUSY = 5;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;
const READONLY = 8;
const PERM = 3;
/** The index of the write-ahead log could not grow: the file system is full. */
const IOERR_SHMSIZE = 4874;

/** What SQLite says for a code (sqlite3_errstr): @photostructure/sqlite gives errors of `all` and `iterate` no code. */
const CODES_BY_MESSAGE: ReadonlyMap<string, number> = new Map([
  ['access permission denied', PERM],
  ['database is locked', BUSY],
  ['attempt to write a readonly database', READONLY],
  ['disk I/O error', IOERR],
  ['database disk image is malformed', CORRUPT],
  ['database or disk is full', FULL],
  ['unable to open database file', CANTOPEN],
  ['file is not a database', NOTADB],
]);

/** SQLite's extended result code, if the error is one of its. */
function sqliteCode(error: unknown): number | null {
  const { errcode, code, message } = (error ?? {}) as { errcode?: unknown; code?: unknown; message?: string };
  if (typeof errcode === 'number') return errcode;
  return code === 'ERR_SQLITE_ERROR' ? (CODES_BY_MESSAGE.get(message ?? '') ?? null) : null;
}

export function isBusy(error: unknown): boolean {
  return ((sqliteCode(error) ?? 0) & 0xff) === BUSY;
}

function codeOfSystemError(code: string | undefined): CarillonError['code'] {
  if (code === 'ENOSPC') return 'CARILLON_STORAGE_FULL';
  return code === 'EIO' ? 'CARILLON_ENGINE_FAILED' : 'CARILLON_BUG';
}

/** What SQLite threw, as an error of the catalogue. */
export function storageError(thrown: unknown, doing: string): CarillonError {
  if (isCarillonError(thrown)) return thrown;
  const error = toError(thrown);
  const code = sqliteCode(thrown);
  const message = `${doing}: ${error.message}`;
  const details = { sqliteCode: code };
  const make = (of: Parameters<typeof carillonError>[0]): CarillonError => carillonError(of, message, details, error);
  if (code === null) return make(codeOfSystemError((error as { code?: string }).code));
  if (code === IOERR_SHMSIZE) return make('CARILLON_STORAGE_FULL');
  switch (code & 0xff) {
    case FULL:
      return make('CARILLON_STORAGE_FULL');
    case CORRUPT:
    case NOTADB:
      return make('CARILLON_STORAGE_CORRUPT');
    case CANTOPEN:
    case READONLY:
    case PERM:
      return make('CARILLON_STORAGE_ACCESS');
    case BUSY:
      return make('CARILLON_STORAGE_BUSY');
    case IOERR:
      return make('CARILLON_ENGINE_FAILED');
    default:
      return make('CARILLON_BUG');
  }
}

/** What of an error survives the way between threads. */
export interface PlainError {
  readonly code: CarillonError['code'];
  readonly message: string;
  readonly details: CarillonError['details'];
}

export function plainError(thrown: unknown, doing: string): PlainError {
  const { code, message, details } = storageError(thrown, doing);
  return { code, message, details };
}
