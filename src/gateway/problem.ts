import { carillonError, isCarillonError, type CarillonError, type ErrorCode, type ErrorKind } from '../core/index.ts';

/** What a client is told when its request fails. Never a stack, a path of the server or a statement. */
export interface Problem {
  readonly code: ErrorCode;
  readonly message: string;
  /** What to do about it. */
  readonly fix: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export interface ProblemResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Problem;
}

/** A catalogued error whose status HTTP itself decides: 404 for a route, 405, 413, 415, ... */
export class HttpError extends Error {
  readonly status: number;
  readonly problem: CarillonError;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, problem: CarillonError, headers: Readonly<Record<string, string>> = {}) {
    super(problem.message);
    this.name = 'HttpError';
    this.status = status;
    this.problem = problem;
    this.headers = headers;
  }
}

/** After how many seconds a client may come back when the answer is 503. */
const RETRY_AFTER_SECONDS = '1';

/** One status for each kind of the catalogue; a retryable limit is load, any other is the size of what was sent. */
const statusOfKind: Readonly<Record<ErrorKind, (retryable: boolean) => number>> = {
  usage: () => 400,
  data: () => 400,
  conflict: () => 409,
  unavailable: () => 503,
  timeout: () => 504,
  limit: (retryable) => (retryable ? 503 : 413),
  storage: () => 503,
  bug: () => 500,
};

/** The few codes that HTTP has a more precise word for. */
const statusOfCode: Partial<Record<ErrorCode, number>> = {
  CARILLON_DEAD_LETTER_UNKNOWN: 404,
  CARILLON_SUBSCRIPTION_UNKNOWN: 404,
  CARILLON_GAP: 410,
  // The schema stands in the server's code; no client can mend it.
  CARILLON_SCHEMA_ASYNC: 500,
};

/** The status that answers an error of the catalogue. */
function statusOf(error: CarillonError): number {
  return statusOfCode[error.code] ?? statusOfKind[error.kind](error.retryable);
}

/** The answer to whatever was thrown. What is not of the catalogue is our defect, and the client learns no more. */
export function problemOf(thrown: unknown): ProblemResponse {
  if (thrown instanceof HttpError) return respond(thrown.status, thrown.problem, thrown.headers);
  if (isCarillonError(thrown) && thrown.kind !== 'bug') return respond(statusOf(thrown), thrown, {});
  return respond(500, carillonError('CARILLON_BUG', 'the server failed; its log says how'), {});
}

function respond(status: number, error: CarillonError, headers: Readonly<Record<string, string>>): ProblemResponse {
  return {
    status,
    headers: status === 503 && error.retryable ? { 'retry-after': RETRY_AFTER_SECONDS, ...headers } : headers,
    body: { code: error.code, message: messageOf(error), fix: error.fix, details: error.details },
  };
}

/** A refusal is only worth its reason, which is the cause. Only an error's own sentence is told, never its stack. */
function messageOf(error: CarillonError): string {
  if (error.code !== 'CARILLON_REFUSED' || !(error.cause instanceof Error)) return error.message;
  return error.message.includes(error.cause.message) ? error.message : `${error.message}: ${error.cause.message}`;
}
