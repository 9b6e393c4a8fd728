import { carillonError } from '../../core/index.ts';
import type { Database, Statement } from './binding.ts';
import { dedupeNumber } from '../../engine/log/index.ts';
import { CELLS_PER_EVENT, type Cell } from './messages.ts';

/**
 * Appends events within the transaction in hand. Rows go in many to a statement: one call into SQLite, and one step of
 * its AUTOINCREMENT counter, for all of them (measured 1.6 times faster than one by one).
 */
const ROWS = 16;
/** Numbers tried for an event whose own is taken by another event; beyond this the ids are made to collide. */
const PROBES_MAX = 10_000;

interface Stored {
  readonly position: number;
  readonly id: string;
  readonly source: string;
}

function insert(database: Database, rows: number): Statement {
  const values = Array.from({ length: rows }, () => '(?,?,?,?,?,?,?,?,?)').join(',');
  return database.prepare(
    `INSERT INTO carillon_events (recorded, dedupe, id, source, type, subject, time, attributes, data)
     VALUES ${values} ON CONFLICT (dedupe) DO NOTHING`,
  );
}

export class Appender {
  readonly insertMany: Statement;
  readonly insertOne: Statement;
  readonly findByNumber: Statement;
  readonly findLast: Statement;
  readonly takeBack: Statement;

  constructor(database: Database) {
    this.insertMany = insert(database, ROWS);
    this.insertOne = insert(database, 1);
    this.findByNumber = database.prepare('SELECT position, id, source FROM carillon_events WHERE dedupe = ?');
    this.findLast = database.prepare('SELECT max(position) AS position FROM carillon_events');
    this.takeBack = database.prepare('DELETE FROM carillon_events WHERE position > ?');
  }

  /**
   * Appends `count` events of the cells. Writes each one's position at the same index of `positions`, negative when the
   * event was there already.
   */
  append(cells: readonly Cell[], from: number, count: number, recordedMs: number, positions: Float64Array): void {
    const end = from + count;
    let at = from;
    if (count >= ROWS) {
      for (let last = this.last(); end - at >= ROWS; at += ROWS) {
        last = this.appendMany(cells, at, recordedMs, positions, last);
      }
    }
    for (; at < end; at++) positions[at] = this.appendOne(cells, at, recordedMs);
  }

  last(): number {
    const { position } = this.findLast.get() as { position: number | null };
    return position ?? 0;
  }

  /** @param last the last position before this statement; returns the last one after it */
  appendMany(cells: readonly Cell[], from: number, recordedMs: number, positions: Float64Array, last: number): number {
    const values: Cell[] = [];
    for (let row = from; row < from + ROWS; row++) {
      const at = row * CELLS_PER_EVENT;
      values.push(recordedMs, numberAt(cells, at));
      for (let cell = at; cell < at + CELLS_PER_EVENT; cell++) values.push(cells[cell] as Cell);
    }
    const { changes, lastInsertRowid } = this.insertMany.run(...values);
    if (Number(changes) === ROWS) {
      const first = Number(lastInsertRowid) - ROWS + 1;
      for (let row = 0; row < ROWS; row++) positions[from + row] = first + row;
      return first + ROWS - 1;
    }
    // Some were there already, or share a number with another event, and would come to lie behind those after them: the
    // statement is taken back and its events are appended one by one. What it skipped has used up positions all the same.
    if (Number(changes) > 0) this.takeBack.run(last);
    for (let row = from; row < from + ROWS; row++) positions[row] = this.appendOne(cells, row, recordedMs);
    return this.last();
  }

  find(cells: readonly Cell[], row: number): number | null {
    const at = row * CELLS_PER_EVENT;
    let number = numberAt(cells, at);
    for (let probe = 0; probe < PROBES_MAX; probe++, number++) {
      const stored = this.findByNumber.get(number) as Stored | undefined;
      if (!stored) return null;
      if (stored.id === cells[at] && stored.source === cells[at + 1]) return stored.position;
    }
    throw collision(cells, at);
  }

  appendOne(cells: readonly Cell[], row: number, recordedMs: number): number {
    const at = row * CELLS_PER_EVENT;
    const rest = cells.slice(at, at + CELLS_PER_EVENT);
    let number = numberAt(cells, at);
    for (let probe = 0; probe < PROBES_MAX; probe++, number++) {
      const { changes, lastInsertRowid } = this.insertOne.run(recordedMs, number, ...rest);
      if (Number(changes) === 1) return Number(lastInsertRowid);
      const stored = this.findByNumber.get(number) as unknown as Stored;
      if (stored.id === cells[at] && stored.source === cells[at + 1]) return -stored.position;
    }
    throw collision(cells, at);
  }
}

/** @param at the event's first cell */
function numberAt(cells: readonly Cell[], at: number): number {
  return dedupeNumber(cells[at + 1] as string, cells[at] as string);
}

function collision(cells: readonly Cell[], at: number): Error {
  return carillonError('CARILLON_BUG', `more than ${PROBES_MAX} ids collide with ${String(cells[at])}`);
}
