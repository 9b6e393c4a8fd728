import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { defaultLimits, defineEvent, silentLogger } from '../../core/index.ts';
import type { CommitBatch, StoreHost } from '../../engine/log/index.ts';
import { rowOf } from '../../engine/log/rows.ts';
import { emptyBatch } from '../../engine/log/store.ts';
import { fakeClock, type FakeClock } from '../../testing/index.ts';
import { openDatabase } from './binding.ts';
import { files } from './options.ts';
import { SqliteStore } from './store.ts';

/** These run the thread as it is built: dist must be what src says, which the global setup of the tests sees to. */

const Happened = defineEvent('thing.happened');

let directory: string;
let stores: SqliteStore[];
let clock: FakeClock;
let failures: Error[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'carillon-store-'));
  stores = [];
  clock = fakeClock();
  failures = [];
});

afterEach(async () => {
  for (const store of stores) await store.close();
  rmSync(directory, { recursive: true, force: true });
});

function host(): StoreHost {
  return {
    limits: defaultLimits,
    log: silentLogger,
    clock,
    onFailure: (error) => failures.push(error),
    onStorageFull: () => undefined,
    onUnreachable: () => undefined,
  };
}

async function opened(where = directory): Promise<SqliteStore> {
  const store = new SqliteStore({ directory: where, reserveBytes: 0, sync: 'off' });
  await store.open(host());
  stores.push(store);
  return store;
}

function batch(ids: readonly string[] = [], given: Partial<CommitBatch> = {}): CommitBatch {
  return {
    ...emptyBatch,
    recordedMs: 1000,
    units: ids.map((id) => ({
      rows: [rowOf({ event: Happened(undefined, { id, source: '/s' }), data: null })],
      expectedRevision: undefined,
      subject: null,
      scheduled: undefined,
    })),
    ...given,
  };
}

const query = { after: 0, upTo: 1000, limit: 1000, scanMax: 1000 };
const idsIn = async (store: SqliteStore): Promise<string[]> => (await store.read(query)).rows.map(({ id }) => id);

describe('SqliteStore', () => {
  it('keeps what it committed', async () => {
    const first = await opened();
    expect([...(await first.commit(batch(['a', 'b', 'a']))).positions]).toEqual([1, 2, -1]);
    await first.close();
    const second = new SqliteStore({ directory, reserveBytes: 0 });
    stores.push(second);
    expect(await second.open(host())).toEqual({ first: 1, last: 2, lastRecordedMs: 1000, nextDueMs: null });
    expect(await idsIn(second)).toEqual(['a', 'b']);
    expect(await second.positionAt(1001)).toBe(3);
    expect(await second.readDue(1e15, 10)).toEqual({ due: [], nextMs: null });
  });

  it('answers calls in the order they were made', async () => {
    const store = await opened();
    const asked = [store.commit(batch(['a'])), store.positionAt(0), store.commit(batch(['b']))] as const;
    const [first, , second] = await Promise.all(asked);
    expect([first.positions[0], second.positions[0]]).toEqual([1, 2]);
  });

  it('keeps subscriptions and deliveries', async () => {
    const store = await opened();
    expect(await store.openSubscription('m.h', 'beginning')).toEqual({ no: 1, start: 0, state: null });
    expect(await store.subscriptionNames()).toEqual(['m.h']);
    const row = {
      subscription: 1,
      position: 1,
      slot: 0,
      key: 'k',
      attempts: 1,
      atMs: 5,
      holds: false,
      records: [],
      data: null,
    };
    await store.commit(batch(['a'], { put: [{ ...row, state: 'held' }] }));
    expect(await store.readDeliveries({ states: ['held'], limit: 9, withEvents: true })).toMatchObject([
      { position: 1, event: { id: 'a' } },
    ]);
    expect(await store.heldKeys(1)).toMatchObject([{ key: 'k', held: 1, holding: 0 }]);
    expect(await store.deliveryCounts(1)).toEqual({ held: 1, dead: 0 });
  });

  it('rejects the commit that fails, and tells nobody else', async () => {
    const store = await opened();
    const broken = batch(['b']);
    for (const { rows } of broken.units) for (const row of rows) (row as { type: unknown }).type = null;
    await expect(store.commit(broken)).rejects.toMatchObject({ code: 'CARILLON_BUG' });
    await store.commit(batch(['c'], { generation: 1 }));
    expect([await idsIn(store), failures]).toEqual([['c'], []]);
  });
});

describe('opening fails', () => {
  it('when the directory cannot be made', async () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    await expect(opened(file)).rejects.toMatchObject({ code: 'CARILLON_STORAGE_ACCESS' });
  });

  it.each([files.lock, files.database])('when %s cannot be read', async (file) => {
    mkdirSync(join(directory, file));
    await expect(opened()).rejects.toMatchObject({ code: 'CARILLON_STORAGE_ACCESS' });
  });

  it('when the database is none', async () => {
    writeFileSync(join(directory, files.database), 'no database at all, though long enough'.repeat(200));
    await expect(opened()).rejects.toMatchObject({ code: 'CARILLON_STORAGE_CORRUPT' });
  });

  it('when the database was written by a newer version', async () => {
    const database = openDatabase(join(directory, files.database), 0);
    database.exec('PRAGMA user_version = 7');
    database.close();
    await expect(opened()).rejects.toMatchObject({
      code: 'CARILLON_STORAGE_VERSION',
      details: { found: 7, known: 1 },
    });
  });

  it('when another engine of this process has the directory, and not once that is closed', async () => {
    const first = await opened();
    await expect(opened()).rejects.toMatchObject({ code: 'CARILLON_DIRECTORY_LOCKED', details: { pid: process.pid } });
    await first.commit(batch(['a']));
    await first.close();
    expect(await idsIn(await opened())).toEqual(['a']);
  });

  it('when the database was cut short', async () => {
    const store = await opened();
    await store.commit(batch(Array.from({ length: 400 }, (_, no) => `${no}`.repeat(100))));
    await store.close();
    truncateSync(join(directory, files.database), 20_000);
    await expect(opened()).rejects.toMatchObject({ code: 'CARILLON_STORAGE_CORRUPT' });
  });

  it('and nothing can be asked then', async () => {
    writeFileSync(join(directory, files.database), 'no database at all, though long enough'.repeat(200));
    const store = new SqliteStore({ directory });
    await expect(store.open(host())).rejects.toMatchObject({ code: 'CARILLON_STORAGE_CORRUPT' });
    await expect(store.commit(batch())).rejects.toMatchObject({ code: 'CARILLON_ENGINE_FAILED' });
    await store.close();
  });
});

describe('a store that has failed', () => {
  it('because its thread was killed, rejects what is pending and what comes, and tells it once', async () => {
    const store = await opened();
    await store.commit(batch(['a']));
    const { worker } = store;
    // What the thread never hears of it cannot answer before it dies.
    vi.spyOn(worker as NonNullable<typeof worker>, 'postMessage').mockImplementation(() => undefined);
    const pending = [store.commit(batch(['b'])), store.positionAt(0)].map((call) =>
      call.catch((error: unknown) => error),
    );
    await worker?.terminate();
    const failed = { code: 'CARILLON_ENGINE_FAILED' };
    expect(await Promise.all(pending)).toMatchObject([failed, failed]);
    await expect(store.commit(batch(['c']))).rejects.toMatchObject(failed);
    await expect(store.begin(100)).rejects.toMatchObject(failed);
    expect(failures).toMatchObject([failed]);
    await store.close();
    await store.close();
    expect(failures.length).toBe(1);
  });

  it('because its database is damaged, fails for good', async () => {
    const store = await opened();
    await store.commit(batch(Array.from({ length: 400 }, (_, no) => `${no}`.repeat(100))));
    await store.close();
    // Its ends are read on opening, its middle is not.
    const path = join(directory, files.database);
    const file = readFileSync(path);
    writeFileSync(path, file.fill(0xff, Math.floor(file.length * 0.4), Math.floor(file.length * 0.6)));
    const damaged = await opened();
    await expect(damaged.read(query)).rejects.toMatchObject({ code: 'CARILLON_STORAGE_CORRUPT' });
    await expect(damaged.positionAt(0)).rejects.toMatchObject({ code: 'CARILLON_ENGINE_FAILED' });
    expect(failures).toMatchObject([{ code: 'CARILLON_ENGINE_FAILED' }]);
  });
});

describe('a closed store', () => {
  it('takes nothing more, and closes again without harm', async () => {
    const store = await opened();
    await store.close();
    await store.close();
    await expect(store.read(query)).rejects.toMatchObject({ code: 'CARILLON_STOPPED' });
    expect(failures).toEqual([]);
  });
});

describe('a transaction', () => {
  it('commits statements and events together', async () => {
    const store = await opened();
    const transaction = await store.begin(100);
    await transaction.run('CREATE TABLE app (id)', []);
    expect(await transaction.run('INSERT INTO app VALUES (?), (?)', ['a', 7])).toEqual({ changes: 2 });
    expect(await transaction.all('SELECT id FROM app', [])).toEqual([{ id: 'a' }, { id: 7 }]);
    expect([...(await transaction.commit(batch(['e']))).positions]).toEqual([1]);
    expect(clock.timers).toBe(0);
    const second = await store.begin(100);
    expect(await second.all('SELECT count(*) AS n FROM app', [])).toEqual([{ n: 2 }]);
    await second.rollback();
    expect(await idsIn(store)).toEqual(['e']);
  });

  it('rolled back leaves nothing', async () => {
    const store = await opened();
    const transaction = await store.begin(100);
    await transaction.run('CREATE TABLE app (id)', []);
    await transaction.rollback();
    expect(clock.timers).toBe(0);
    const second = await store.begin(100);
    await expect(second.all('SELECT id FROM app', [])).rejects.toMatchObject({ code: 'CARILLON_TRANSACTION_FAILED' });
    await second.rollback();
  });

  it('past its time is rolled back, and takes nothing more', async () => {
    const store = await opened();
    const transaction = await store.begin(100);
    await transaction.run('CREATE TABLE app (id)', []);
    await clock.advance(99);
    await transaction.run("INSERT INTO app VALUES ('a')", []);
    await clock.advance(1);
    const late = { code: 'CARILLON_TRANSACTION_TIMEOUT', details: { limit: 'transactionMs' } };
    await expect(transaction.run('SELECT 1', [])).rejects.toMatchObject(late);
    await expect(transaction.all('SELECT 1', [])).rejects.toMatchObject(late);
    await expect(transaction.commit(batch(['e']))).rejects.toMatchObject(late);
    await transaction.rollback();
    await store.commit(batch(['f']));
    expect([await idsIn(store), failures]).toEqual([['f'], []]);
    const second = await store.begin(100);
    await expect(second.all('SELECT id FROM app', [])).rejects.toThrow('no such table');
    await second.rollback();
  });
});
