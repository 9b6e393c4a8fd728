import { carillonError } from '../core/index.ts';

/** Bytes of an identifier that PostgreSQL keeps: NAMEDATALEN - 1. It would cut a longer one off in silence. */
export const IDENTIFIER_BYTES_MAX: number = 63;

/**
 * The name as an SQL identifier, quoted whatever it holds. Fails with `CARILLON_OPTION_INVALID` for what cannot be a
 * name: empty, longer than 63 bytes in UTF-8, or with a NUL in it.
 * @param what what is named, for the message: `schema`, `table`
 */
export function quoteIdentifier(name: string, what: string = 'identifier'): string {
  const refuse = (why: string): never => {
    throw carillonError('CARILLON_OPTION_INVALID', `the ${what} ${JSON.stringify(name)} ${why}`, { option: what });
  };
  if (typeof name !== 'string' || name === '') return refuse('must be text, and not empty');
  if (name.includes('\0')) return refuse('holds a NUL, which no name may');
  if (new TextEncoder().encode(name).length > IDENTIFIER_BYTES_MAX) return refuse('is longer than 63 bytes');
  return `"${name.replaceAll('"', '""')}"`;
}

/** Text as an SQL literal, whatever it holds: for statements that take no parameters, such as CREATE DATABASE. */
export function quoteLiteral(text: string): string {
  const escaped = text.replaceAll("'", "''");
  return escaped.includes('\\') ? ` E'${escaped.replaceAll('\\', '\\\\')}'` : `'${escaped}'`;
}
