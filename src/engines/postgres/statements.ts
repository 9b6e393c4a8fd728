import { carillonError, type SqlValue } from '../../core/index.ts';

/**
 * What a handler may not run in the transaction it is handed: what would end it, or leave it. A statement is one by
 * itself (the extended protocol takes no more), so its first word tells.
 */
const refused: ReadonlySet<string> = new Set([
  'BEGIN',
  'START',
  'COMMIT',
  'END',
  'ROLLBACK',
  'ABORT',
  'SAVEPOINT',
  'RELEASE',
  'PREPARE',
  'LISTEN',
  'UNLISTEN',
  'DISCARD',
]);

/** White space and comments before the first word. */
const BEFORE = /^(?:\s+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*/;

/**
 * Fails with `CARILLON_TRANSACTION_FAILED` for a statement that would end the transaction, or that names the engine's own
 * schema: its tables are changed by its own functions alone.
 */
export function assertStatementAllowed(sql: string, schema: string): void {
  const rest = sql.replace(BEFORE, '');
  const word = /^[a-z]+/i.exec(rest)?.[0].toUpperCase() ?? '';
  if (refused.has(word)) {
    throw carillonError(
      'CARILLON_TRANSACTION_FAILED',
      `${word} is not for a handler: its transaction ends with its attempt`,
      {
        statement: word,
      },
    );
  }
  if (word === 'SET' && !/^set\s+(local|constraints)\b/i.test(rest)) {
    throw carillonError('CARILLON_TRANSACTION_FAILED', 'SET outlives the transaction; use SET LOCAL', {
      statement: word,
    });
  }
  const quoted = schema.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  if (new RegExp(`(^|[^\\w$"])"?${quoted}"?\\s*\\.`, 'i').test(rest)) {
    throw carillonError('CARILLON_TRANSACTION_FAILED', `the tables of the schema ${schema} are the engine's own`, {
      schema,
    });
  }
}

/** Parameters of a statement as `pg` takes them. */
export const parametersOf = (parameters: readonly SqlValue[]): unknown[] =>
  parameters.map((value) => (value instanceof Uint8Array ? Buffer.from(value) : value));
