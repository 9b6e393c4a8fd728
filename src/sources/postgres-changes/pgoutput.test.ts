import fc from 'fast-check';
import { PgoutputPlugin } from 'pg-logical-replication';
import { describe, expect, it } from 'vitest';
import { isCarillonError } from '../../core/index.ts';
import { PgoutputReader, type Decoded, type OldTuple, type Relation, type Tuple } from './pgoutput.ts';

const int16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
};
const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const int64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
};
const byte = (value: number): Buffer => Buffer.from([value]);
const zero = (text: string): Buffer => Buffer.from(`${text}\0`);
const letter = (text: string): Buffer => Buffer.from(text);

type Cell = string | null | undefined;
/** `undefined`: not sent, because it was not changed. */
const cell = (value: Cell): Buffer => {
  if (value === null) return letter('n');
  if (value === undefined) return letter('u');
  return Buffer.concat([letter('t'), int32(Buffer.byteLength(value)), Buffer.from(value)]);
};
const tuple = (...cells: readonly Cell[]): Buffer => Buffer.concat([int16(cells.length), ...cells.map(cell)]);

const columns: readonly (readonly [name: string, type: number, identity: boolean])[] = [
  ['id', 23, true],
  ['big', 20, false],
  ['note', 25, false],
  ['ratio', 701, false],
  ['ok', 16, false],
  ['doc', 3802, false],
];
const relation = (identity: string = 'd'): Buffer =>
  Buffer.concat([
    letter('R'),
    int32(4_000_000_000),
    zero('shop'),
    zero('orders'),
    letter(identity),
    int16(columns.length),
    ...columns.flatMap(([name, type, key]) => [byte(key ? 1 : 0), zero(name), int32(type), int32(0xffff_ffff)]),
  ]);
const change = (kind: string, ...parts: readonly Buffer[]): Buffer =>
  Buffer.concat([letter(kind), int32(4_000_000_000), ...parts]);
const whole = ['-7', '9007199254740993', 'größer', '1.5', 't', '{"a":[1]}'] as const;
const insert = change('I', letter('N'), tuple(...whole));

/** What was told, in order, as plain values. */
function told(messages: readonly Buffer[]): unknown[] {
  const calls: unknown[] = [];
  const plain = ({ row, unchanged }: Tuple): unknown => ({ row: { ...row }, unchanged });
  const old = (before: OldTuple): unknown => ({ row: { ...before.row }, whole: before.whole });
  const name = ({ schema, table }: Relation): string => `${schema}.${table}`;
  const to: Decoded = {
    begin: (...given) => calls.push(['begin', ...given]),
    commit: (...given) => calls.push(['commit', ...given]),
    relation: (given) => calls.push(['relation', name(given), given.replicaIdentity, given.oid]),
    insert: (given, after) => calls.push(['insert', name(given), plain(after)]),
    update: (given, before, after) =>
      calls.push(['update', name(given), before === null ? null : old(before), plain(after)]),
    remove: (given, before) => calls.push(['remove', name(given), old(before)]),
    truncate: (given, ...options) => calls.push(['truncate', given.map(name), ...options]),
    message: (...given) => calls.push(['message', ...given]),
  };
  const reader = new PgoutputReader(to);
  for (const message of messages) {
    // Within other bytes, as it comes from the socket.
    const padded = Buffer.concat([letter('xxx'), message, letter('yyyyyyyyyyyyyyyyyyyyyyyy')]);
    reader.read(padded, 3, 3 + message.length);
  }
  return calls;
}

const row = { id: -7, big: '9007199254740993', note: 'größer', ratio: 1.5, ok: true, doc: { a: [1] } };

describe('pgoutput', () => {
  it('tells where a transaction begins and ends', () => {
    const begin = Buffer.concat([letter('B'), int64(0x16_b374_d848n), int64(1_000_000n), int32(3_000_000_000)]);
    const commit = Buffer.concat([letter('C'), byte(0), int64(1n), int64(2n), int64(3n)]);
    expect(told([begin, commit])).toEqual([
      ['begin', 0x16_b374_d848n, 946_684_801_000_000n, 3_000_000_000],
      ['commit', 2n],
    ]);
  });

  it('reads rows, each value by its type', () => {
    expect(told([relation(), insert])).toEqual([
      ['relation', 'shop.orders', 'default', 4_000_000_000],
      ['insert', 'shop.orders', { row, unchanged: null }],
    ]);
  });

  it('keeps to text what JSON has no number for', () => {
    const calls = told([relation(), change('I', letter('N'), tuple('0', '0', '', 'NaN', 'f', 'null'))]);
    expect(calls[1]).toMatchObject([
      'insert',
      'shop.orders',
      { row: { id: 0, note: '', ratio: 'NaN', ok: false, doc: null } },
    ]);
  });

  it('tells what was not sent from null', () => {
    const update = change('U', letter('N'), tuple('1', null, undefined, '2', 't', undefined));
    expect(told([relation(), update])[1]).toEqual([
      'update',
      'shop.orders',
      null,
      { row: { id: 1, big: null, ratio: 2, ok: true }, unchanged: ['note', 'doc'] },
    ]);
  });

  it('gives of an old key the key alone, and of an old row all', () => {
    const key = tuple('1', null, null, null, null, null);
    const moved = change('U', letter('K'), key, letter('N'), tuple(...whole));
    const gone = change('D', letter('K'), key);
    const full = change('D', letter('O'), tuple(...whole));
    expect(told([relation(), moved, gone, full]).slice(1)).toEqual([
      ['update', 'shop.orders', { row: { id: 1 }, whole: false }, { row, unchanged: null }],
      ['remove', 'shop.orders', { row: { id: 1 }, whole: false }],
      ['remove', 'shop.orders', { row, whole: true }],
    ]);
  });

  it('reads truncations and messages, and passes over origins and types', () => {
    const truncate = Buffer.concat([letter('T'), int32(1), byte(3), int32(4_000_000_000)]);
    const content = Buffer.from('größe');
    const message = Buffer.concat([letter('M'), byte(1), int64(5n), zero('p'), int32(content.length), content]);
    const origin = Buffer.concat([letter('O'), int64(1n), zero('o')]);
    const type = Buffer.concat([letter('Y'), int32(9), zero('s'), zero('t')]);
    expect(told([relation(), origin, type, truncate, message]).slice(1)).toEqual([
      ['truncate', ['shop.orders'], true, true],
      ['message', true, 5n, 'p', 'größe'],
    ]);
  });

  it('takes a column of any name for a column', () => {
    const strange = Buffer.concat([
      letter('R'),
      int32(1),
      zero(''),
      zero('t'),
      letter('f'),
      int16(1),
      byte(1),
      zero('__proto__'),
      int32(25),
      int32(0),
    ]);
    const added = Buffer.concat([letter('I'), int32(1), letter('N'), tuple('x')]);
    const calls = told([strange, added]) as [unknown, [string, string, { row: object }]];
    expect(calls[0]).toEqual(['relation', 'pg_catalog.t', 'full', 1]);
    expect(Object.getOwnPropertyDescriptor(calls[1][2].row, '__proto__')?.value).toBe('x');
  });

  it('reads what another parser reads of the same bytes', () => {
    const other = new PgoutputPlugin({ protoVersion: 1, publicationNames: ['p'] });
    other.parse(relation());
    const theirs = other.parse(insert) as { new: Record<string, unknown> };
    const [, [, , ours]] = told([relation(), insert]) as [unknown, [string, string, { row: Record<string, unknown> }]];
    expect(ours.row).toEqual({ ...theirs.new });
  });

  it('refuses whatever it cannot read by one code, and never in another way', () => {
    const good = [
      relation(),
      insert,
      change('U', letter('N'), tuple(...whole)),
      change('D', letter('K'), tuple(...whole)),
    ];
    const cut = fc.tuple(fc.constantFrom(...good), fc.nat(), fc.nat(255)).map(([bytes, at, value]) => {
      const changed = Buffer.from(bytes);
      changed[at % changed.length] = value;
      return changed.subarray(0, changed.length - (value % 3));
    });
    const bytes = fc.uint8Array({ maxLength: 40 }).map((some) => Buffer.from(some));
    const codes = new Set<unknown>();
    fc.assert(
      fc.property(fc.array(fc.oneof(cut, bytes)), (messages) => {
        try {
          told([relation(), ...messages]);
        } catch (error) {
          codes.add(isCarillonError(error) ? error.code : error);
        }
      }),
      { numRuns: 2000 },
    );
    expect([...codes]).toEqual(['CARILLON_CHANGES_PROTOCOL']);
  });
});
