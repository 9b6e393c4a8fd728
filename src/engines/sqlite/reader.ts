import type { StartFrom } from '../../core/index.ts';
import type {
  DeliveryQuery,
  DeliveryRow,
  EventRow,
  ScheduledRow,
  StoredSubscription,
  StoreQuery,
  StoreRows,
} from '../../engine/log/index.ts';
import type { Database, Statement } from './binding.ts';
import { deliveryOf, eventColumns, joinedEventColumns, stateNumbers, type RawDelivery } from './rows.ts';

/** Size of the data of one page of events, in UTF-16 units, at which it ends early. */
const PAGE_SIZE_MAX = 8 * 1024 * 1024;

/** Statements of reads, prepared once for each shape of query. */
export class Reader {
  readonly database: Database;
  readonly prepared: Map<string, Statement> = new Map();

  constructor(database: Database) {
    this.database = database;
  }

  prepare(sql: string): Statement {
    let statement = this.prepared.get(sql);
    if (!statement) {
      statement = this.database.prepare(sql);
      this.prepared.set(sql, statement);
    }
    return statement;
  }

  ends(): { first: number; last: number; lastRecordedMs: number } {
    const { first } = this.prepare('SELECT min(position) AS first FROM carillon_events').get() as {
      first: number | null;
    };
    const newest = this.prepare(
      'SELECT position, recorded FROM carillon_events ORDER BY position DESC LIMIT 1',
    ).get() as { position: number; recorded: number } | undefined;
    return { first: first ?? 0, last: newest?.position ?? 0, lastRecordedMs: newest?.recorded ?? 0 };
  }

  read({ after, upTo, type, subject, limit, scanMax }: StoreQuery): StoreRows {
    const end = Math.min(upTo, after + scanMax);
    const conditions = ['e.position > ?', 'e.position <= ?'];
    const parameters: (string | number)[] = [after, end];
    if (type !== undefined) {
      conditions.push('e.type = ?');
      parameters.push(type);
    }
    if (subject !== undefined) {
      conditions.push('e.subject = ?');
      parameters.push(subject);
    }
    const sql = `SELECT ${eventColumns('e')} FROM carillon_events e WHERE ${conditions.join(' AND ')}
      ORDER BY e.position LIMIT ?`;
    const rows: EventRow[] = [];
    let size = 0;
    for (const found of this.prepare(sql).iterate(...parameters, limit)) {
      const row = found as unknown as EventRow;
      rows.push(row);
      size += row.data?.length ?? 0;
      if (size >= PAGE_SIZE_MAX) break;
    }
    const cut = rows.length === limit || size >= PAGE_SIZE_MAX;
    return { rows, scannedTo: cut ? (rows.at(-1) as EventRow).position : end };
  }

  /** Recorded moments never fall as positions rise, so the place is found by halving, without an index. */
  positionAt(ms: number): number {
    const { first, last } = this.ends();
    const next = this.prepare(
      'SELECT position, recorded FROM carillon_events WHERE position >= ? ORDER BY position LIMIT 1',
    );
    let low = Math.max(1, first);
    let high = last + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const row = next.get(middle) as { position: number; recorded: number } | undefined;
      if (row && row.recorded < ms) low = row.position + 1;
      else high = middle;
    }
    return low;
  }

  openSubscription(name: string, from: StartFrom): StoredSubscription {
    const known = this.prepare('SELECT no, start, state FROM carillon_subscriptions WHERE name = ?').get(name) as
      | { no: number; start: number; state: Uint8Array | null }
      | undefined;
    if (known) return { no: known.no, start: known.start, state: known.state };
    const start = this.startPosition(from);
    const { lastInsertRowid } = this.prepare('INSERT INTO carillon_subscriptions (name, start) VALUES (?, ?)').run(
      name,
      start,
    );
    return { no: Number(lastInsertRowid), start, state: null };
  }

  startPosition(from: StartFrom): number {
    if (from === 'beginning') return 0;
    if (from === 'now') return this.ends().last;
    return 'position' in from ? Math.max(0, from.position - 1) : Math.max(0, this.positionAt(from.timeMs) - 1);
  }

  subscriptionNames(): readonly string[] {
    const rows = this.prepare('SELECT name FROM carillon_subscriptions ORDER BY no').all() as { name: string }[];
    return rows.map((row) => row.name);
  }

  readDeliveries(query: DeliveryQuery): readonly DeliveryRow[] {
    const conditions: string[] = [`d.state IN (${query.states.map((state) => stateNumbers[state]).join(',')})`];
    const parameters: (string | number)[] = [];
    const add = (condition: string, value: string | number): void => {
      conditions.push(condition);
      parameters.push(value);
    };
    if (query.subscription !== undefined) add('d.subscription = ?', query.subscription);
    if (query.subscriptionName !== undefined) add('s.name = ?', query.subscriptionName);
    if (query.key !== undefined) add('d.key = ?', query.key);
    if (query.positions) add('d.position IN (SELECT value FROM json_each(?))', JSON.stringify(query.positions));
    if (query.after !== undefined) add('d.position > ?', query.after);
    const events = query.withEvents ? `, ${joinedEventColumns}` : '';
    const join = query.withEvents ? 'LEFT JOIN carillon_events e ON e.position = d.position' : '';
    const sql = `SELECT d.*, s.name AS name${events} FROM carillon_deliveries d
      JOIN carillon_subscriptions s ON s.no = d.subscription ${join}
      WHERE ${conditions.join(' AND ')} ORDER BY d.position, d.subscription LIMIT ?`;
    const rows = this.prepare(sql).all(...parameters, query.limit) as unknown as RawDelivery[];
    return rows.map(deliveryOf);
  }

  heldKeys(subscription: number): readonly { key: string; held: number; holding: number }[] {
    const { held, dead } = stateNumbers;
    return this.prepare(
      `SELECT key, sum(state = ${held}) AS held, sum(state = ${dead}) AS holding FROM carillon_deliveries
       WHERE subscription = ? AND key IS NOT NULL AND (state = ${held} OR (state = ${dead} AND holds = 1)) GROUP BY key`,
    ).all(subscription) as { key: string; held: number; holding: number }[];
  }

  deliveryCounts(subscription: number): { held: number; dead: number } {
    const count = this.prepare('SELECT count(*) AS n FROM carillon_deliveries WHERE subscription = ? AND state = ?');
    const of = (state: number): number => (count.get(subscription, state) as { n: number }).n;
    return { held: of(stateNumbers.held), dead: of(stateNumbers.dead) };
  }

  readDue(ms: number, limit: number): { due: readonly ScheduledRow[]; nextMs: number | null } {
    const rows = this.prepare('SELECT * FROM carillon_scheduled WHERE due <= ? ORDER BY due, no LIMIT ?').all(
      ms,
      limit,
    ) as unknown as (EventRow & { no: number; due: number })[];
    const due = rows.map(({ no, due: dueMs, ...event }) => ({
      no,
      dueMs,
      event: { ...event, position: 0, recordedMs: 0 },
    }));
    return { due, nextMs: this.nextDueMs(due.length) };
  }

  /** When the earliest scheduled event is due, but for so many before it. */
  nextDueMs(passedOver: number): number | null {
    const next = this.prepare('SELECT due FROM carillon_scheduled ORDER BY due, no LIMIT 1 OFFSET ?').get(passedOver) as
      | { due: number }
      | undefined;
    return next?.due ?? null;
  }
}
