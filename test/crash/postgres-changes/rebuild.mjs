// The checker: tables as the events say they are, against the tables as they are.

/** Rows by table; those without a key are a bag, counted by what they hold. */
export class Rebuilt {
  constructor() {
    this.forget();
    /** Events that cannot be true after those before them: something is missing, or came twice. */
    this.impossible = [];
    this.ids = new Set();
    this.twice = 0;
    this.events = 0;
    this.snapshots = 0;
  }

  forget() {
    this.keyed = new Map();
    this.bags = new Map();
  }

  /** @param {import('../../../src/core/event.ts').Event} event */
  take(event) {
    // A snapshot that begins makes void what was told before it.
    if (event.type === 'carillon.changes.started') {
      this.snapshots++;
      return this.forget();
    }
    if (event.type.startsWith('carillon.')) return undefined;
    this.events++;
    if (this.ids.has(event.id)) this.twice++;
    this.ids.add(event.id);
    const what = event.type.slice(event.type.lastIndexOf('.') + 1);
    const { table, key, after } = event.data;
    if (what === 'truncated') {
      this.keyed.delete(table);
      this.bags.delete(table);
    } else if (key === null) this.takeUnkeyed(event, what, table, after);
    else this.takeKeyed(event, what, table, JSON.stringify(key), after);
    return undefined;
  }

  takeUnkeyed(event, what, table, after) {
    if (what !== 'created') return this.impossible.push(`${what} ${event.id}: rows of ${table} are only added`);
    const bag = this.bags.get(table) ?? this.bags.set(table, new Map()).get(table);
    const row = textOf(after);
    return bag.set(row, (bag.get(row) ?? 0) + 1);
  }

  takeKeyed(event, what, table, key, after) {
    const rows = this.keyed.get(table) ?? this.keyed.set(table, new Map()).get(table);
    if ((what === 'created') === rows.has(key)) this.impossible.push(`${what} ${table} ${key} (${event.id})`);
    if (what === 'deleted') rows.delete(key);
    else rows.set(key, textOf(after));
  }

  /** The rows of a table, each with how often it is there. */
  rowsOf(table) {
    if (!this.keyed.has(table)) return this.bags.get(table) ?? new Map();
    const bag = new Map();
    for (const row of this.keyed.get(table).values()) bag.set(row, (bag.get(row) ?? 0) + 1);
    return bag;
  }
}

/** A row as text, whatever the order of its columns. */
export function textOf(row) {
  return JSON.stringify(
    Object.keys(row)
      .toSorted()
      .map((name) => [name, row[name]]),
  );
}

/**
 * Compares bags of rows.
 * @param {Map<string, number>} rebuilt
 * @param {Map<string, number>} real
 * @returns {{ lost: number, phantom: number }} rows that are missing from the rebuilt ones, and rows that are too many
 */
export function compare(rebuilt, real) {
  let lost = 0;
  let phantom = 0;
  for (const [row, count] of real) lost += Math.max(0, count - (rebuilt.get(row) ?? 0));
  for (const [row, count] of rebuilt) phantom += Math.max(0, count - (real.get(row) ?? 0));
  return { lost, phantom };
}
