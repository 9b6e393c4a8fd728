import { catalogue, type CatalogueRow, type ErrorCode, type ErrorKind } from './error-catalogue.ts';

export type { ErrorCode, ErrorKind } from './error-catalogue.ts';

/** What an error says beyond its message: the attribute, limit, path or position at fault. JSON values only. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

/** An error of the catalogue: a stable code to branch on, and a sentence that says what to do. */
export interface CarillonError extends Error {
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  /** Whether the same call can succeed later. A publish repeated with the same id is stored once (G4). */
  readonly retryable: boolean;
  readonly fix: string;
  readonly details: ErrorDetails;
}

/**
 * Marks our errors so that two copies of the package in one process recognise each other's
 * (the idea is vercel/ai's: `instanceof` fails across copies).
 */
const marker = Symbol.for('carillon.error');

class CataloguedError extends Error implements CarillonError {
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  readonly retryable: boolean;
  readonly fix: string;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails, cause: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    const row: CatalogueRow = catalogue[code];
    this.name = 'CarillonError';
    this.code = code;
    this.kind = row.kind;
    this.retryable = row.retryable;
    this.fix = row.fix;
    this.details = details;
    Object.defineProperty(this, marker, { value: true });
  }
}

/** Makes an error of the catalogue. @param message what was wrong, with the offending value, no trailing full stop. */
export function carillonError(
  code: ErrorCode,
  message: string,
  details: ErrorDetails = {},
  cause?: unknown,
): CarillonError {
  return new CataloguedError(code, message, details, cause);
}

/** Whether `value` is an error of the catalogue, and of that code when one is given. Works across package copies. */
export function isCarillonError(value: unknown, code?: ErrorCode): value is CarillonError {
  if (typeof value !== 'object' || value === null || !(marker in value)) return false;
  return code === undefined || (value as { code?: unknown }).code === code;
}

/** States what must hold. A failure is our defect (`CARILLON_BUG`), never retried. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw carillonError('CARILLON_BUG', message);
}

function textOf(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    // An object without a prototype has no toString.
    return 'a value that cannot be shown was thrown';
  }
}

/** Anything thrown, as an Error: handlers may throw strings, null, or objects of another realm. */
export function toError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  if (typeof thrown === 'object' && thrown !== null && typeof (thrown as Error).message === 'string') {
    return Object.assign(new Error((thrown as Error).message), { name: (thrown as Error).name ?? 'Error' });
  }
  return new Error(textOf(thrown));
}
