import { carillonError } from '../../core/index.ts';

/** Statements that would end or bypass the transaction, or reach other files. */
const FORBIDDEN = /^(?:begin|commit|end|rollback|savepoint|release|attach|detach|vacuum|pragma)\b/i;
const COMMENTS = /^(?:\s|;|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)+/;
const OURS = /\bcarillon_/i;

/** Refuses what a handler's transaction may not run, with `CARILLON_TRANSACTION_FAILED`. */
export function assertStatement(sql: string): void {
  const statement = sql.replace(COMMENTS, '');
  const forbidden = FORBIDDEN.exec(statement);
  if (forbidden) refuse(`${forbidden[0].toUpperCase()} does not belong into a handler's transaction`);
  if (OURS.test(statement)) refuse("tables named carillon_ are the engine's own");
}

function refuse(why: string): never {
  throw carillonError('CARILLON_TRANSACTION_FAILED', why);
}
