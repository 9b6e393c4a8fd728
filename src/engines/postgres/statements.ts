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

const SPACE_OR_LINE_COMMENT = /(?:[\s;]+|--[^\n]*(?:\n|$))+/y;
const COMMENT_EDGE = /\/\*|\*\//g;

/** The statement without what may stand before its first word: white space, empty statements, comments, which are nested. */
function withoutPrelude(sql: string): string {
  for (let at = 0; ; ) {
    SPACE_OR_LINE_COMMENT.lastIndex = at;
    if (SPACE_OR_LINE_COMMENT.test(sql)) at = SPACE_OR_LINE_COMMENT.lastIndex;
    if (!sql.startsWith('/*', at)) return sql.slice(at);
    let depth = 0;
    COMMENT_EDGE.lastIndex = at;
    do {
      const edge = COMMENT_EDGE.exec(sql);
      // Never closed: the server refuses it.
      if (!edge) return '';
      depth += edge[0] === '/*' ? 1 : -1;
    } while (depth > 0);
    at = COMMENT_EDGE.lastIndex;
  }
}

/**
 * Fails with `CARILLON_TRANSACTION_FAILED` for a statement that would end the transaction, or that names the engine's own
 * schema: its tables are changed by its own functions alone.
 */
export function assertStatementAllowed(sql: string, schema: string): void {
  const rest = withoutPrelude(sql);
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
  const escaped = schema.replaceAll('"', '""').replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  if (new RegExp(`(^|[^\\w$"])"?${escaped}"?\\s*\\.`, 'i').test(rest)) {
    throw carillonError('CARILLON_TRANSACTION_FAILED', `the tables of the schema ${schema} are the engine's own`, {
      schema,
    });
  }
}

/** Parameters of a statement as `pg` takes them. */
export const parametersOf = (parameters: readonly SqlValue[]): unknown[] =>
  parameters.map((value) => (value instanceof Uint8Array ? Buffer.from(value) : value));
