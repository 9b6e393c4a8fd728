import { reviveEvent, type Event } from '../../core/index.ts';
import { ACTOR_PREFIX, DDL_PREFIX, ddlEvent, HEARTBEAT_PREFIX } from './messages.ts';
import { ChangeIds, type Origin } from './ids.ts';
import { lsnText, type Lsn } from './lsn.ts';
import { changeType, rowSubject, tableSubject } from './names.ts';
import { setMember, type Decoded, type OldTuple, type Relation, type Row, type Tuple } from './pgoutput.ts';

/** The transaction a change belongs to. */
export interface ChangeTransaction {
  /** PostgreSQL's number of it (32 bits: they come round). */
  readonly id: number;
  /** The place of its commit in the write-ahead log: `0/16B3748`. */
  readonly lsn: string;
}

/** What happened to a row or, where `key`, `before` and `after` are null, to a whole table. */
export interface RowChange<R extends object = Record<string, unknown>> {
  readonly schema: string;
  readonly table: string;
  /** The primary key, or the columns of the replica identity; null for a table without either. */
  readonly key: Partial<R> | null;
  /** The row before: whole with `REPLICA IDENTITY FULL`; else the key alone, and null where the key did not change. */
  readonly before: Partial<R> | null;
  /** The row after. Columns named in `unchanged` are missing. */
  readonly after: R | null;
  /** Columns that hold a large value which was not changed, and so was not sent. Absent where there is none. */
  readonly unchanged?: readonly string[];
  /** An update changed the key: this is the deletion of the old one, and this the new one; or the other way about. */
  readonly movedTo?: Partial<R>;
  readonly movedFrom?: Partial<R>;
  /** Of a truncation: its options. */
  readonly cascade?: boolean;
  readonly restartIdentity?: boolean;
  /** Null for a row of the snapshot. */
  readonly transaction: ChangeTransaction | null;
  /** The place among the changes of the transaction, from 0; of the snapshot's rows, from 0. */
  readonly index: number;
  /** Which snapshot the stream goes back to, from 1. */
  readonly generation: number;
  /** What the application told of itself in this transaction, before this change. */
  readonly actor?: unknown;
}

/** What becomes of the changes, in order. */
export interface ChangeSink {
  /** @param size bytes of the message it came from */
  add(event: Event, size: number): void;
  /** The transaction is whole. @param end where it ends in the log: what may be confirmed once all before is durable */
  committed(end: Lsn): void;
  /** The stream has come to this place, outside of any transaction. */
  reached(lsn: Lsn): void;
}

/** What all changes of one table share. */
interface TableTypes {
  readonly relation: Relation;
  readonly created: string;
  readonly updated: string;
  readonly deleted: string;
  readonly truncated: string;
  readonly subject: string;
  readonly key: readonly string[];
}

/** The same text as V8 keeps names of properties: one copy, compared by its address, however many events carry it. */
const internalized = (text: string): string => Object.keys({ [text]: true })[0] as string;

function typesOf(database: string, relation: Relation, key: readonly string[]): TableTypes {
  const { schema, table } = relation;
  const type = (what: string): string => internalized(changeType(database, schema, table, what));
  return {
    relation,
    created: type('created'),
    updated: type('updated'),
    deleted: type('deleted'),
    truncated: type('truncated'),
    subject: tableSubject(schema, table),
    key,
  };
}

/** Names of the columns that make the key of a table whose rows come whole; none where it has no primary key. */
export type KeyLookup = (relation: Relation) => readonly string[];

/** Microseconds since the Unix epoch, as RFC 3339 with all six digits. */
function isoMicros(micros: bigint): string {
  const iso = new Date(Number(micros / 1000n)).toISOString();
  return `${iso.slice(0, -1)}${(micros % 1000n).toString().padStart(3, '0')}Z`;
}

/** Makes events of decoded messages. One for each stream; the snapshot has one of its own. */
export class Changes implements Decoded {
  readonly source: string;
  readonly database: string;
  readonly generation: number;
  readonly sink: ChangeSink;
  readonly keyLookup: KeyLookup;
  readonly tables: Map<number, TableTypes> = new Map();
  /** Bytes of the message at hand. */
  size = 0;
  ids: ChangeIds | null = null;
  time = '';
  transaction: ChangeTransaction | null = null;
  actor: unknown = undefined;

  constructor(parts: {
    readonly source: string;
    readonly database: string;
    readonly generation: number;
    readonly sink: ChangeSink;
    readonly keyLookup: KeyLookup;
  }) {
    this.source = parts.source;
    this.database = parts.database;
    this.generation = parts.generation;
    this.sink = parts.sink;
    this.keyLookup = parts.keyLookup;
  }

  /** Whether a transaction has begun and not ended. */
  get within(): boolean {
    return this.transaction !== null;
  }

  begin(commitLsn: Lsn, committedMicros: bigint, id: number): void {
    this.ids = new ChangeIds(this.generation, commitLsn, 'stream');
    this.time = isoMicros(committedMicros);
    this.transaction = { id, lsn: lsnText(commitLsn) };
    this.actor = undefined;
  }

  /** Rows from here on are those of a snapshot taken at that place and time. */
  beginSnapshot(lsn: Lsn, time: string): void {
    const origin: Origin = 'snapshot';
    this.ids = new ChangeIds(this.generation, lsn, origin);
    this.time = time;
    this.transaction = null;
    this.actor = undefined;
  }

  commit(endLsn: Lsn): void {
    this.transaction = null;
    this.sink.committed(endLsn);
  }

  relation(relation: Relation): void {
    const { columns, replicaIdentity } = relation;
    const key =
      replicaIdentity === 'full'
        ? this.keyLookup(relation)
        : columns.filter(({ identity }) => identity).map(({ name }) => name);
    this.tables.set(relation.oid, typesOf(this.database, relation, key));
  }

  insert(relation: Relation, after: Tuple): void {
    const table = this.tableOf(relation);
    this.tell(table, table.created, null, after);
  }

  update(relation: Relation, before: OldTuple | null, after: Tuple): void {
    const table = this.tableOf(relation);
    const whole = before?.whole === true ? fillFrom(before.row, after) : after;
    if (before === null || sameKey(table.key, before.row, whole.row)) {
      this.tell(table, table.updated, before?.row ?? null, whole);
      return;
    }
    // Order is kept by key: the old key's last event and the new key's first one are two.
    this.tell(table, table.deleted, before.row, null, { movedTo: keyOf(table.key, whole.row) });
    this.tell(table, table.created, null, whole, { movedFrom: keyOf(table.key, before.row) }, true);
  }

  remove(relation: Relation, before: OldTuple): void {
    const table = this.tableOf(relation);
    this.tell(table, table.deleted, before.row, null);
  }

  truncate(relations: readonly Relation[], cascade: boolean, restartIdentity: boolean): void {
    for (const relation of relations) {
      const table = this.tableOf(relation);
      this.tell(table, table.truncated, null, null, { cascade, restartIdentity });
    }
  }

  message(transactional: boolean, lsn: Lsn, prefix: string, content: string): void {
    if (prefix === HEARTBEAT_PREFIX && !transactional) this.sink.reached(lsn);
    else if (prefix === ACTOR_PREFIX && transactional) this.actor = actorOf(content);
    else if (prefix === DDL_PREFIX && transactional) {
      const { source, database, ids, time, transaction, generation, actor, size } = this;
      // Counted whether or not anybody wants it, so that ids do not depend on options.
      const id = (ids as ChangeIds).next();
      const told = { transaction, index: (ids as ChangeIds).index, generation, actor };
      this.sink.add(ddlEvent({ id, source, time }, database, content, told), size);
    }
  }

  tableOf({ oid }: Relation): TableTypes {
    return this.tables.get(oid) as TableTypes;
  }

  /** @param movedHere the second half of a change of key, with the index of the first */
  tell(
    table: TableTypes,
    type: string,
    before: Row | null,
    after: Tuple | null,
    more?: object,
    movedHere: boolean = false,
  ): void {
    const { ids, source, time, transaction, generation, actor } = this;
    const { relation } = table;
    const id = movedHere ? (ids as ChangeIds).moved() : (ids as ChangeIds).next();
    const row = after?.row ?? before;
    const keyed = row !== null && table.key.length > 0;
    const data: Record<string, unknown> = {
      schema: relation.schema,
      table: relation.table,
      key: keyed ? keyOf(table.key, row) : null,
      before,
      after: after?.row ?? null,
      transaction,
      index: (ids as ChangeIds).index,
      generation,
    };
    if (after !== null && after.unchanged !== null) data['unchanged'] = after.unchanged;
    if (actor !== undefined) data['actor'] = actor;
    if (more !== undefined) Object.assign(data, more);
    const subject = keyed ? rowSubject(table.subject, keyText(table.key, row)) : table.subject;
    // Each attribute is valid as it was made: names are encoded, ids and times have their form.
    this.sink.add(reviveEvent({ id, source, type, subject, time }, data), this.size);
  }
}

function keyOf(key: readonly string[], row: Row): Row {
  const found: Row = {};
  for (const name of key) setMember(found, name, row[name]);
  return found;
}

function keyText(key: readonly string[], row: Row): readonly string[] {
  return key.map((name) => String(row[name]));
}

function sameKey(key: readonly string[], before: Row, after: Row): boolean {
  return key.every((name) => before[name] === after[name]);
}

/** Where the old row came whole, what was not sent is known all the same. */
function fillFrom(before: Row, after: Tuple): Tuple {
  if (after.unchanged === null) return after;
  for (const name of after.unchanged) setMember(after.row, name, before[name]);
  return { row: after.row, unchanged: null };
}

/** JSON where it is, else the text itself: whoever writes it may not be able to choose. */
function actorOf(content: string): unknown {
  try {
    return JSON.parse(content) as unknown;
  } catch {
    return content;
  }
}
