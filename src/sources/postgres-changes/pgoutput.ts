import { carillonError, isCarillonError, toError } from '../../core/index.ts';
import type { Lsn } from './lsn.ts';
import { conversionOf, convert, type Conversion } from './values.ts';

/**
 * Reads what the plug-in pgoutput writes, version 1 of its protocol, with logical messages
 * ({@link https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html}). Each message is read once,
 * straight into the values of the event; nothing stands between.
 */
export interface RelationColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly conversion: Conversion;
  /** Whether it belongs to the replica identity. */
  readonly identity: boolean;
}

/** A table as the stream described it last. */
export interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly table: string;
  /** `full`: rows come whole, and nothing of the message tells which columns are the key. */
  readonly replicaIdentity: 'default' | 'nothing' | 'full' | 'index';
  readonly columns: readonly RelationColumn[];
}

export type Row = Record<string, unknown>;

/** A row as it came. */
export interface Tuple {
  readonly row: Row;
  /** Names of columns whose value is out of line and was not changed: it was not sent, which is not null. */
  readonly unchanged: readonly string[] | null;
}

/** An old row: whole, or only the columns of the replica identity. */
export interface OldTuple extends Tuple {
  readonly whole: boolean;
}

/** What a message may be. Each is told in the order of the stream. */
export interface Decoded {
  begin(commitLsn: Lsn, committedMicros: bigint, transaction: number): void;
  commit(endLsn: Lsn): void;
  relation(relation: Relation): void;
  insert(relation: Relation, after: Tuple): void;
  update(relation: Relation, before: OldTuple | null, after: Tuple): void;
  remove(relation: Relation, before: OldTuple): void;
  truncate(relations: readonly Relation[], cascade: boolean, restartIdentity: boolean): void;
  message(transactional: boolean, lsn: Lsn, prefix: string, content: string): void;
}

const identities: Readonly<Record<string, Relation['replicaIdentity']>> = {
  d: 'default',
  n: 'nothing',
  f: 'full',
  i: 'index',
};

const [NULL, UNCHANGED, TEXT] = [0x6e, 0x75, 0x74];
const [KEY, OLD, NEW] = [0x4b, 0x4f, 0x4e];

/** From 2000-01-01, where PostgreSQL's time begins, back to 1970-01-01, in microseconds. */
const EPOCH_MICROS = 946_684_800_000_000n;

const protocolError = (what: string): Error => carillonError('CARILLON_CHANGES_PROTOCOL', `the stream has ${what}`);

export class PgoutputReader {
  readonly relations: Map<number, Relation> = new Map();
  readonly to: Decoded;
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  end = 0;

  constructor(to: Decoded) {
    this.to = to;
  }

  /** Reads one message. Fails with `CARILLON_CHANGES_PROTOCOL` for what it does not know or what is cut short. */
  read(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    try {
      this.one();
    } catch (error) {
      if (isCarillonError(error)) throw error;
      const what = `the stream has a message that cannot be read: ${toError(error).message}`;
      throw carillonError('CARILLON_CHANGES_PROTOCOL', what, {}, error);
    }
  }

  one(): void {
    const tag = this.byte();
    switch (tag) {
      case 0x49: {
        const relation = this.relationOf();
        this.expect(NEW);
        return this.to.insert(relation, this.tuple(relation));
      }
      case 0x55:
        return this.update();
      case 0x44: {
        const relation = this.relationOf();
        return this.to.remove(relation, this.old(relation, this.byte()));
      }
      case 0x42:
        return this.to.begin(this.int64(), this.int64() + EPOCH_MICROS, this.int32() >>> 0);
      case 0x43:
        // Flags and the place of the commit, which the message before the changes told already.
        this.need(9);
        this.at += 9;
        return this.to.commit(this.int64());
      case 0x52:
        return this.relation();
      case 0x54:
        return this.truncate();
      case 0x4d:
        return this.message();
      // Origin and type: where a transaction came from, and the name of a type; nothing here depends on either.
      case 0x4f:
      case 0x59:
        return undefined;
      default:
        throw protocolError(`a message of the unknown kind ${JSON.stringify(String.fromCharCode(tag))}`);
    }
  }

  update(): void {
    const relation = this.relationOf();
    let kind = this.byte();
    let before: OldTuple | null = null;
    if (kind === KEY || kind === OLD) {
      before = this.old(relation, kind);
      kind = this.byte();
    }
    if (kind !== NEW) throw protocolError('an update without its new row');
    const after = this.tuple(relation);
    this.to.update(relation, before, after);
  }

  old(relation: Relation, kind: number): OldTuple {
    if (kind !== KEY && kind !== OLD) throw protocolError('a change without its old row');
    const { row, unchanged } = this.tuple(relation);
    if (kind === OLD) return { row, unchanged, whole: true };
    // The columns beside the identity are null here and mean nothing.
    const key: Row = {};
    for (const { name, identity } of relation.columns) if (identity) setMember(key, name, row[name]);
    return { row: key, unchanged: null, whole: false };
  }

  relation(): void {
    const oid = this.int32() >>> 0;
    // An empty name stands for pg_catalog.
    const schema = this.string() || 'pg_catalog';
    const table = this.string();
    const replicaIdentity = identities[String.fromCharCode(this.byte())];
    if (replicaIdentity === undefined) throw protocolError(`an unknown replica identity of ${schema}.${table}`);
    const columns: RelationColumn[] = [];
    for (let left = this.int16(); left > 0; left--) {
      const identity = (this.byte() & 1) === 1;
      const name = this.string();
      const typeOid = this.int32() >>> 0;
      this.int32();
      columns.push({ name, typeOid, conversion: conversionOf(typeOid), identity });
    }
    const relation = { oid, schema, table, replicaIdentity, columns };
    this.relations.set(oid, relation);
    this.to.relation(relation);
  }

  truncate(): void {
    const count = this.int32();
    const flags = this.byte();
    this.need(count * 4);
    const relations = Array.from({ length: count }, () => this.relationOf());
    this.to.truncate(relations, (flags & 1) === 1, (flags & 2) === 2);
  }

  message(): void {
    const flags = this.byte();
    const lsn = this.int64();
    const prefix = this.string();
    const length = this.int32();
    this.need(length);
    this.to.message((flags & 1) === 1, lsn, prefix, this.bytes.toString('utf8', this.at, this.at + length));
  }

  tuple({ columns }: Relation): Tuple {
    const count = this.int16();
    if (count > columns.length) throw protocolError('a row with more columns than its table');
    const row: Row = {};
    let unchanged: string[] | null = null;
    for (let index = 0; index < count; index++) {
      const { name, conversion } = columns[index] as RelationColumn;
      const kind = this.byte();
      if (kind === NULL) setMember(row, name, null);
      else if (kind === TEXT) {
        const length = this.int32();
        this.need(length);
        const from = this.at;
        this.at += length;
        setMember(row, name, this.value(conversion, from, this.at));
      } else if (kind === UNCHANGED) (unchanged ??= []).push(name);
      else throw protocolError(`a value of the unknown kind ${kind}`);
    }
    return { row, unchanged };
  }

  value(conversion: Conversion, from: number, to: number): unknown {
    if (conversion === 'integer') return this.digits(from, to);
    return convert(conversion, this.bytes.toString('utf8', from, to));
  }

  /** A whole number from its digits, without making text of them first. */
  digits(from: number, to: number): number {
    const { bytes } = this;
    const negative = bytes[from] === 0x2d;
    let value = 0;
    for (let at = negative ? from + 1 : from; at < to; at++) value = value * 10 + ((bytes[at] as number) - 0x30);
    return negative ? -value : value;
  }

  relationOf(): Relation {
    const oid = this.int32() >>> 0;
    const relation = this.relations.get(oid);
    if (relation === undefined) throw protocolError(`a row of the table ${oid}, which it never described`);
    return relation;
  }

  expect(kind: number): void {
    if (this.byte() !== kind) throw protocolError('a row that does not begin as one');
  }

  need(length: number): void {
    if (length < 0 || this.at + length > this.end) throw protocolError('a message that ends too early');
  }

  byte(): number {
    this.need(1);
    return this.bytes[this.at++] as number;
  }

  int16(): number {
    this.need(2);
    this.at += 2;
    return this.bytes.readInt16BE(this.at - 2);
  }

  int32(): number {
    this.need(4);
    this.at += 4;
    return this.bytes.readInt32BE(this.at - 4);
  }

  int64(): bigint {
    this.need(8);
    this.at += 8;
    return this.bytes.readBigInt64BE(this.at - 8);
  }

  string(): string {
    const zero = this.bytes.indexOf(0, this.at);
    if (zero < 0 || zero >= this.end) throw protocolError('a name without an end');
    const text = this.bytes.toString('utf8', this.at, zero);
    this.at = zero + 1;
    return text;
  }
}

/** A column may have any name; assigning to this one would change what the row is. */
export function setMember(row: Row, name: string, value: unknown): void {
  if (name !== '__proto__') row[name] = value;
  else Object.defineProperty(row, name, { value, writable: true, enumerable: true, configurable: true });
}
