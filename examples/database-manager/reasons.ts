/**
 * Why a request was not done: one row each, with what to do about it. `database.*.failed` carries one of these codes;
 * what is not among them passes by itself, and is tried again.
 */
export const reasons = {
  DATABASE_EXISTS: 'Choose another name, or drop or rename the database of that name first.',
  DATABASE_GONE: 'The database was dropped or replaced by somebody else while the job was at work; ask again.',
  DATABASE_IN_USE: 'Close the sessions of that database, or ask with "force": true, which ends them.',
  DATABASE_NAME_INVALID: 'Choose a name of 1 to 63 bytes in UTF-8 without control characters.',
  DATABASE_PROTECTED: 'Choose another target: this one is not for events to touch.',
  DATABASE_REFUSED: 'The server refused it for the reason in the message; mend the request.',
  DATABASE_RIGHTS: 'Grant the manager the right that the message names.',
  DATABASE_UNKNOWN: 'List the databases and name one that is there.',
  EXTENSION_UNKNOWN: 'Install the extension on the server, or name one that is there.',
  ROLE_UNKNOWN: 'Create the role, or name one that is there.',
} as const;

export type ReasonCode = keyof typeof reasons;

/** Why a request was not done, as its fact tells it. */
export interface Reason {
  readonly code: ReasonCode;
  readonly message: string;
  readonly fix: string;
}

/** Ends a job as failed: its fact says why, and it is not tried again. */
export class Refusal extends Error {
  readonly code: ReasonCode;
  readonly fix: string;

  constructor(code: ReasonCode, message: string) {
    super(message);
    this.name = 'Refusal';
    this.code = code;
    this.fix = reasons[code];
  }

  get reason(): Reason {
    return { code: this.code, message: this.message, fix: this.fix };
  }
}

const bySqlState: Readonly<Record<string, ReasonCode>> = {
  '42P04': 'DATABASE_EXISTS',
  '3D000': 'DATABASE_GONE',
  '55006': 'DATABASE_IN_USE',
  '42704': 'ROLE_UNKNOWN',
  '42501': 'DATABASE_RIGHTS',
  '58P01': 'EXTENSION_UNKNOWN',
  '0A000': 'EXTENSION_UNKNOWN',
};

/**
 * Classes of SQLSTATE that pass by themselves: connection, transaction rollback, resources, operator intervention, system
 * error, internal error. (PostgreSQL's documentation, appendix A.)
 */
const PASSING = /^(08|40|53|57|58|XX)/;

/** What the server said of a statement: a refusal, or null for what passes by itself and is to be tried again. */
export function refusalOf(sqlState: string | undefined, message: string): Refusal | null {
  if (sqlState === undefined) return null;
  const known = bySqlState[sqlState];
  if (known) return new Refusal(known, message);
  // A lock that was not to be had in time passes as well.
  if (PASSING.test(sqlState) || sqlState === '55P03') return null;
  return new Refusal('DATABASE_REFUSED', `${message} (SQLSTATE ${sqlState})`);
}

/** The same of anything thrown. Errors of the server have a severity beside their code; all others pass, or are a defect. */
export function refusalOfError(thrown: unknown): Refusal | null {
  if (thrown instanceof Refusal) return thrown;
  const { code, severity, message } = (thrown ?? {}) as { code?: string; severity?: string; message?: string };
  return severity === undefined ? null : refusalOf(code, message ?? '');
}
