/**
 * How names of the database stand in attributes of events. An event type has tokens between dots and may hold neither
 * blanks nor `*`, `>`; a name in PostgreSQL may hold anything but NUL. So each name becomes one token: letters, digits,
 * marks, `_`, `-` and `$` stay as they are, case included; every other character is written as the percent-encoded bytes
 * of its UTF-8. The rule can be undone, so two names never become one.
 */
const strange = /[^\p{L}\p{N}\p{M}_$-]/gu;
const text = new TextEncoder();

const percent = (character: string): string =>
  Array.from(text.encode(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');

/** The name as one token of an event type: `my table;` is `my%20table%3B`. */
export function nameToken(name: string): string {
  return name.replaceAll(strange, percent);
}

/** The type of what happened to a table: `shop.public.orders.created`. */
export function changeType(database: string, schema: string, table: string, what: string): string {
  return [...[database, schema, table].map(nameToken), what].join('.');
}

/** What comes with nearly every key: a number, a UUID, a plain word. */
const plain = /^[A-Za-z0-9_-]*$/;

/** `public.orders`: what the subject of all events of a table begins with. */
export function tableSubject(schema: string, table: string): string {
  return `${nameToken(schema)}.${nameToken(table)}`;
}

/** The subject of a row: its table and its key, `public.orders/17`; parts of a key of several columns stand between `/`. */
export function rowSubject(table: string, key: readonly string[]): string {
  let subject = table;
  for (const part of key) subject += `/${plain.test(part) ? part : encodeURIComponent(part)}`;
  return subject;
}
