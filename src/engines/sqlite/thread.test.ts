import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeliveryRow, EventRow } from '../../engine/log/index.ts';
import { openDatabase } from './binding.ts';
import type { CommitMessage, UnitShape } from './messages.ts';
import { files, type SqliteOptions } from './options.ts';
import { StorageThread } from './thread.ts';

let directory: string;
/** Those still open. */
let threads: Set<StorageThread>;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'carillon-thread-'));
  threads = new Set();
});

afterEach(() => {
  for (const thread of threads) close(thread);
  rmSync(directory, { recursive: true, force: true });
});

function open(options: Partial<SqliteOptions> = {}): { thread: StorageThread; found: unknown } {
  const thread = new StorageThread();
  const found = thread.call('open', { directory, reserveBytes: 0, ...options });
  threads.add(thread);
  return { thread, found };
}

function opened(reserveBytes = 0): StorageThread {
  return open({ reserveBytes, sync: 'off' }).thread;
}

function close(thread: StorageThread): unknown {
  threads.delete(thread);
  return thread.call('close', null);
}

const row = (id: string, given: Partial<EventRow> = {}): EventRow => ({
  position: 0,
  recordedMs: 0,
  slot: 0,
  askedBy: null,
  id,
  source: '/s',
  type: 't',
  subject: null,
  time: null,
  attributes: null,
  data: null,
  ...given,
});

const delivery = (position: number, given: Partial<DeliveryRow> = {}): DeliveryRow => ({
  subscription: 1,
  position,
  state: 'retrying',
  key: null,
  attempts: 1,
  atMs: 0,
  holds: false,
  slot: 0,
  records: [],
  data: null,
  ...given,
});

interface Unit extends Partial<UnitShape> {
  readonly rows: readonly EventRow[];
}

function message(units: readonly Unit[], given: Partial<CommitMessage> = {}): CommitMessage {
  const conditional = units.some((unit) => unit.expectedRevision !== undefined || unit.scheduled !== undefined);
  return {
    generation: 0,
    recordedMs: 1000,
    cells: units.flatMap(({ rows }) =>
      rows.flatMap((one) => [one.id, one.source, one.type, one.subject, one.time, one.attributes, one.data]),
    ),
    units: conditional
      ? units.map(({ rows, expectedRevision, scheduled }) => ({
          events: rows.length,
          expectedRevision,
          subject: rows[0]?.subject ?? null,
          scheduled,
        }))
      : null,
    states: [],
    put: [],
    remove: [],
    schedule: [],
    unschedule: [],
    mayRefuse: false,
    ...given,
  };
}

const idsIn = (thread: StorageThread): string[] =>
  thread.read({ after: 0, upTo: 1e9, limit: 1e6, scanMax: 1e9 }).rows.map(({ id }) => id);

const on = (subject: string): Partial<EventRow> => ({ subject });

describe('a commit', () => {
  it('with a stale revision refuses that unit and keeps the others', () => {
    const thread = opened();
    thread.commit(message([{ rows: [row('a', on('x'))] }]));
    const result = thread.commit(
      message([
        { rows: [row('b', on('y'))], expectedRevision: 'none' },
        { rows: [row('c', on('x')), row('d', on('x'))], expectedRevision: 'none' },
        { rows: [row('e', on('x'))], expectedRevision: 1 },
        { rows: [row('f')] },
      ]),
    );
    expect([...result.positions]).toEqual([2, 0, 0, 3, 4]);
    expect(result.refused).toEqual([{ unit: 1, reason: { kind: 'revision', actual: 1 } }]);
    expect(idsIn(thread)).toEqual(['a', 'b', 'e', 'f']);
  });

  it('sees what an earlier unit of it wrote to the subject', () => {
    const thread = opened();
    const { refused } = thread.commit(
      message([
        { rows: [row('a', on('x'))], expectedRevision: 'none' },
        { rows: [row('b', on('x'))], expectedRevision: 'none' },
      ]),
    );
    expect(refused).toEqual([{ unit: 1, reason: { kind: 'revision', actual: 1 } }]);
  });

  it('repeated with its old revision finds itself', () => {
    const thread = opened();
    const first = message([{ rows: [row('a', on('x'))], expectedRevision: 'none' }]);
    thread.commit(first);
    thread.commit(message([{ rows: [row('b', on('x'))] }]));
    const { positions, refused } = thread.commit(first);
    expect([[...positions], refused]).toEqual([[-1], []]);
  });

  it('writes states, puts and removes delivery rows', () => {
    const thread = opened();
    const { no } = thread.openSubscription({ name: 'm.h', from: 'beginning' });
    expect(no).toBe(1);
    thread.commit(message([{ rows: [row('a')] }], { put: [delivery(1), delivery(2)] }));
    thread.commit(
      message([{ rows: [row('b')] }], {
        states: [{ subscription: 1, state: new Uint8Array([1, 2]) }],
        put: [delivery(2, { state: 'dead', attempts: 3, holds: true, key: 'k' })],
        remove: [{ subscription: 1, position: 1 }],
      }),
    );
    expect(thread.openSubscription({ name: 'm.h', from: 'now' })).toEqual({
      no: 1,
      start: 0,
      state: new Uint8Array([1, 2]),
    });
    const rows = thread.readDeliveries({ states: ['retrying', 'begun', 'held', 'dead'], limit: 9, withEvents: false });
    expect(rows).toMatchObject([{ position: 2, state: 'dead', attempts: 3, holds: true, key: 'k' }]);
  });

  it('that fails applies nothing, and those of its generation after it neither', () => {
    const thread = opened();
    const broken = { ...row('b'), type: null as unknown as string };
    const states = [{ subscription: 1, state: new Uint8Array([9]) }];
    thread.openSubscription({ name: 'm.h', from: 'beginning' });
    const before = message([{ rows: [row('a'), broken] }], { put: [delivery(7)], states });
    expect(() => thread.call('commit', before)).toThrow('NOT NULL');
    expect(() => thread.call('commit', message([{ rows: [row('c')] }]))).toThrow(
      expect.objectContaining({ code: 'CARILLON_STORAGE_FULL' }),
    );
    expect(idsIn(thread)).toEqual([]);
    expect(thread.openSubscription({ name: 'm.h', from: 'beginning' }).state).toBeNull();
    thread.call('commit', message([{ rows: [row('d')] }], { generation: 1 }));
    expect(idsIn(thread)).toEqual(['d']);
  });

  it('of new events is refused while the reserve is spent; others go on', () => {
    const thread = opened(4096);
    thread.reserve?.spend();
    if (thread.reserve) thread.reserve.triedMs = Infinity;
    const fresh = message([{ rows: [row('a')] }], { mayRefuse: true });
    expect(() => thread.call('commit', fresh)).toThrow(expect.objectContaining({ code: 'CARILLON_STORAGE_FULL' }));
    thread.call('commit', message([{ rows: [row('b')] }], { generation: 1 }));
    if (thread.reserve) thread.reserve.triedMs = 0;
    thread.call('commit', { ...fresh, generation: 2 });
    expect(idsIn(thread)).toEqual(['b', 'a']);
  });
});

describe('the schedule', () => {
  const scheduled = (id: string, dueMs: number): Partial<CommitMessage> => ({ schedule: [{ event: row(id), dueMs }] });

  it('takes an event once, and tells a second one of the first', () => {
    const thread = opened();
    expect(thread.commit(message([], scheduled('a', 500))).scheduled).toEqual([null]);
    expect(thread.commit(message([], scheduled('a', 900))).scheduled).toEqual([{ position: 0, dueMs: 500 }]);
    thread.commit(message([{ rows: [row('b')] }]));
    expect(thread.commit(message([], scheduled('b', 900))).scheduled).toEqual([{ position: 1, dueMs: 0 }]);
  });

  it('moves an event into the log once', () => {
    const thread = opened();
    thread.commit(message([], scheduled('a', 500)));
    const [due] = thread.readDue({ ms: 500, limit: 9 }).due;
    const move = message([{ rows: [row('a')], scheduled: due?.no }]);
    expect([...thread.commit(move).positions]).toEqual([1]);
    expect(thread.commit(move).refused).toEqual([{ unit: 0, reason: { kind: 'cancelled' } }]);
    expect(thread.readDue({ ms: 500, limit: 9 })).toEqual({ due: [], nextMs: null });
    expect(idsIn(thread)).toEqual(['a']);
  });

  it('gives back an event that is cancelled, which is not moved then', () => {
    const thread = opened();
    thread.commit(message([], scheduled('a', 500)));
    const [due] = thread.readDue({ ms: 500, limit: 9 }).due;
    const cancel = {
      unschedule: [
        { source: '/s', id: 'a' },
        { source: '/s', id: 'a' },
        { source: '/x', id: 'a' },
      ],
    };
    expect(thread.commit(message([], cancel)).unscheduled).toEqual([true, false, false]);
    const move = thread.commit(message([{ rows: [row('a')], scheduled: due?.no }, { rows: [row('b')] }]));
    expect(move.refused).toEqual([{ unit: 0, reason: { kind: 'cancelled' } }]);
    expect([...move.positions]).toEqual([0, 1]);
  });

  it('is told on opening', () => {
    const thread = opened();
    thread.commit(message([], scheduled('later', 700)));
    thread.commit(message([], scheduled('at-epoch', 0)));
    close(thread);
    expect(open().found).toMatchObject({ nextDueMs: 0 });
  });
});

describe('opening', () => {
  it('tells the ends of the log', () => {
    const thread = opened();
    thread.commit(message([{ rows: [row('a'), row('b')] }], { recordedMs: 77 }));
    close(thread);
    expect(open().found).toEqual({
      first: 1,
      last: 2,
      lastRecordedMs: 77,
      nextDueMs: null,
    });
  });

  it('waits for the disk unless told otherwise', () => {
    const mode = ({ database }: StorageThread): unknown => database?.prepare('PRAGMA synchronous').get();
    const fast = opened();
    expect(mode(fast)).toMatchObject({ synchronous: 0 });
    close(fast);
    expect(mode(open().thread)).toMatchObject({ synchronous: 2 });
  });

  it('that fails gives the directory free', () => {
    writeFileSync(join(directory, files.database), 'this is no database, and long enough to be looked at'.repeat(100));
    expect(() => opened()).toThrow(expect.objectContaining({ code: 'CARILLON_STORAGE_CORRUPT' }));
    rmSync(join(directory, files.database));
    expect(() => opened()).not.toThrow();
  });

  it('is refused for a newer schema', () => {
    const database = openDatabase(join(directory, files.database), 0);
    database.exec('PRAGMA user_version = 99');
    database.close();
    expect(() => opened()).toThrow(expect.objectContaining({ code: 'CARILLON_STORAGE_VERSION' }));
  });
});

describe('failing', () => {
  it('for good refuses everything, and still closes', () => {
    const thread = opened();
    const { commits } = thread;
    if (!commits) throw new Error('not open');
    Object.assign(commits, {
      write: () => {
        throw Object.assign(new Error('disk I/O error'), { errcode: 10 });
      },
    });
    const failed = expect.objectContaining({ code: 'CARILLON_ENGINE_FAILED' });
    expect(() => thread.call('commit', message([]))).toThrow(failed);
    expect(() => thread.call('read', { after: 0, upTo: 9, limit: 9, scanMax: 9 })).toThrow(failed);
    expect(() => thread.call('commit', message([], { generation: 1 }))).toThrow(failed);
    expect(close(thread)).toBeNull();
  });
});

describe("a handler's transaction", () => {
  const statement = (sql: string, ...parameters: (string | number)[]) => ({ sql, parameters });

  function begun(): StorageThread {
    const thread = opened();
    thread.database?.exec('CREATE TABLE app (id TEXT PRIMARY KEY, n INTEGER)');
    thread.call('begin', null);
    return thread;
  }

  const rowsOf = (thread: StorageThread): unknown[] => thread.database?.prepare('SELECT id FROM app').all() ?? [];

  it('commits its statements with the events and rows', () => {
    const thread = begun();
    expect(thread.call('run', statement('INSERT INTO app VALUES (?, ?), (?, ?)', 'a', 1, 'b', 2))).toEqual({
      changes: 2,
    });
    expect(thread.call('all', statement('SELECT * FROM app WHERE n > ?', 1))).toEqual([{ id: 'b', n: 2 }]);
    const { positions } = thread.commitTransaction(message([{ rows: [row('e')] }], { put: [delivery(1)] }));
    expect([...positions]).toEqual([1]);
    expect([rowsOf(thread).length, idsIn(thread), thread.database?.isTransaction]).toEqual([2, ['e'], false]);
  });

  it('leaves nothing when rolled back', () => {
    const thread = begun();
    thread.call('run', statement("INSERT INTO app VALUES ('a', 1)"));
    thread.call('rollback', null);
    expect([rowsOf(thread), thread.database?.isTransaction]).toEqual([[], false]);
    expect(thread.call('rollback', null)).toBeNull();
  });

  it('leaves nothing when its commit fails', () => {
    const thread = begun();
    thread.call('run', statement("INSERT INTO app VALUES ('a', 1)"));
    const broken = { ...row('b'), type: null as unknown as string };
    expect(() => thread.call('commitTransaction', message([{ rows: [row('a'), broken] }]))).toThrow('NOT NULL');
    expect([rowsOf(thread), idsIn(thread), thread.inTransaction]).toEqual([[], [], false]);
    thread.call('commit', message([{ rows: [row('c')] }]));
    expect(idsIn(thread)).toEqual(['c']);
  });

  it.each([
    ['a table that is not there', 'INSERT INTO nowhere VALUES (1)', []],
    ['what is no SQL', 'what is this', []],
    ['a constraint', "INSERT INTO app VALUES ('a', 1)", []],
    ['too many parameters', 'SELECT 1', ['one']],
    ['COMMIT', 'COMMIT', []],
  ])('tells a statement that fails for what it is: %s', (_what, sql, parameters) => {
    const thread = begun();
    thread.call('run', statement("INSERT INTO app VALUES ('a', 1)"));
    const failed = expect.objectContaining({ code: 'CARILLON_TRANSACTION_FAILED' });
    expect(() => thread.call('run', statement(sql, ...parameters))).toThrow(failed);
    expect(() => thread.call('all', statement(sql, ...parameters))).toThrow(failed);
    expect([thread.failure, thread.database?.isTransaction]).toEqual([null, true]);
  });

  it('that a statement has undone takes nothing more', () => {
    const thread = begun();
    thread.call('run', statement("INSERT INTO app VALUES ('a', 1)"));
    expect(() => thread.call('run', statement("INSERT OR ROLLBACK INTO app VALUES ('a', 2)"))).toThrow('UNIQUE');
    const undone = expect.objectContaining({ code: 'CARILLON_TRANSACTION_FAILED' });
    expect(() => thread.call('run', statement("INSERT INTO app VALUES ('b', 1)"))).toThrow(undone);
    expect(() => thread.call('commitTransaction', message([{ rows: [row('e')] }]))).toThrow(undone);
    expect([rowsOf(thread), idsIn(thread), thread.inTransaction]).toEqual([[], [], false]);
  });

  it('that is over takes nothing more', () => {
    const thread = begun();
    thread.call('rollback', null);
    const over = expect.objectContaining({ code: 'CARILLON_TRANSACTION_TIMEOUT' });
    expect(() => thread.call('run', statement('SELECT 1'))).toThrow(over);
    expect(() => thread.call('all', statement('SELECT 1'))).toThrow(over);
    expect(() => thread.call('commitTransaction', message([{ rows: [row('e')] }]))).toThrow(over);
    expect(idsIn(thread)).toEqual([]);
  });
});

describe('a checkpoint', () => {
  it('comes after enough was written, and not within a transaction', () => {
    const thread = opened();
    const walPages = (): number =>
      Number(thread.database?.prepare('PRAGMA wal_checkpoint(NOOP)').get()?.['checkpointed']);
    const large = 'x'.repeat(1024 * 1024);
    for (let no = 0; no < 20; no++) thread.commit(message([{ rows: [row(`e${no}`, { data: large })] }]));
    thread.call('begin', null);
    thread.checkpoint();
    expect(thread.bytesSinceLook).toBeGreaterThan(20 * large.length);
    thread.call('rollback', null);
    expect(walPages()).toBe(0);
    thread.checkpoint();
    expect(walPages()).toBeGreaterThan(4000);
    expect(thread.bytesSinceLook).toBe(0);
  });

  it('does not even look after little was written', () => {
    const thread = opened();
    thread.commit(message([{ rows: [row('a')] }]));
    const { bytesSinceLook } = thread;
    expect(bytesSinceLook).toBeGreaterThan(0);
    thread.checkpoint();
    expect(thread.bytesSinceLook).toBe(bytesSinceLook);
  });
});
