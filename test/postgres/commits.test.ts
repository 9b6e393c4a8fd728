import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defineEvent } from '../../src/core/index.ts';
import type { CommitBatch, CommitResult } from '../../src/engine/log/index.ts';
import { rowOf } from '../../src/engine/log/rows.ts';
import { emptyBatch } from '../../src/engine/log/store.ts';
import type { PostgresStore } from '../../src/engines/postgres/store.ts';
import { openedStore } from './opened-store.ts';
import { freshDatabase, type FreshDatabase } from './fresh-database.ts';

/** Commits that are sent before those before them are answered, on a server. */

const Happened = defineEvent('thing.happened');

let database: FreshDatabase;
let store: PostgresStore;

beforeEach(async () => {
  database = await freshDatabase();
  store = await openedStore(database.url);
  // With the first one its connection is made.
  await store.commit(batch(['first']));
});

afterEach(async () => {
  await store.close();
  await database.drop();
});

function batch(ids: readonly string[], given: Partial<CommitBatch> = {}): CommitBatch {
  return {
    ...emptyBatch,
    recordedMs: 1000,
    units: ids.map((id) => ({
      rows: [rowOf({ event: Happened(undefined, { id, source: '/s' }), data: null }, true)],
      expectedRevision: undefined,
      subject: null,
      scheduled: undefined,
    })),
    ...given,
  };
}

/** One that only who holds the leases may make. */
const leased = (id: string): CommitBatch => batch([id], { joined: 1 });

async function idsInLog(): Promise<readonly string[]> {
  const { rows } = await store.read({ after: 0, upTo: 1000, limit: 1000, scanMax: 1000 });
  return rows.map(({ id }) => id);
}

const outcomeOf = (commit: Promise<CommitResult>): Promise<unknown> =>
  commit.then(
    ({ positions }) => [...positions],
    (error: { code?: string }) => error.code,
  );

describe('commits of PostgreSQL, sent ahead', () => {
  it('are sent before those before them are answered, and end in their order', async () => {
    const ended: string[] = [];
    const commits = ['a', 'b', 'c'].map((id) => store.commit(batch([id])).then(() => ended.push(id)));
    expect(store.sent).toBe(store.applied + 3);
    await Promise.all(commits);
    expect(ended).toEqual(['a', 'b', 'c']);
    expect(await idsInLog()).toEqual(['first', 'a', 'b', 'c']);
  });

  it('are not applied when the one before them is refused', async () => {
    await database.query('SELECT carillon.bury_member(no) FROM carillon.members');
    const outcomes = [leased('refused'), batch(['after it']), batch(['later'], { generation: 1 })];
    expect(await Promise.all(outcomes.map((one) => outcomeOf(store.commit(one))))).toEqual([
      'CARILLON_LEASE_LOST',
      'CARILLON_LEASE_LOST',
      [2],
    ]);
    expect(await outcomeOf(store.commit(batch(['last'], { generation: 1 })))).toEqual([3]);
    expect(await idsInLog()).toEqual(['first', 'later', 'last']);
  });

  it('are made again in their order when their connection breaks, and those made meanwhile after them', async () => {
    const ids: string[] = [];
    const failures: unknown[] = [];
    let ended = 0;
    const commitNext = (): void => {
      const id = `e${ids.length}`;
      ids.push(id);
      store
        .commit(batch([id]))
        .catch((error: unknown) => failures.push(error))
        .finally(() => {
          ended++;
          // At the very moment at which the next in turn is begun.
          if (ids.length % 3 > 0) commitNext();
        });
    };
    for (let round = 0; round < 2; round++) {
      const session = store.writer.lastProcess ?? 0;
      for (let i = 0; i < 20; i++) commitNext();
      const broken = database.query(`SELECT pg_terminate_backend(${session})`);
      // Until the next connection has been at work for a while.
      const aim = ids.length + 60;
      while (store.writer.lastProcess === session || ended < aim) {
        if (ids.length - ended < 50) commitNext();
        await new Promise((resolve) => setImmediate(resolve));
      }
      await broken;
    }
    while (ended < ids.length) await new Promise((resolve) => setImmediate(resolve));
    const { rows } = await store.read({ after: 0, upTo: 100_000, limit: 100_000, scanMax: 100_000 });
    expect(failures).toEqual([]);
    expect(rows.map(({ id }) => id)).toEqual(['first', ...ids]);
  });

  it('do not overtake those that were on the connection when it broke', async () => {
    const { connection } = store.writer;
    const before = ['a', 'b'].map((id) => store.commit(batch([id])));
    connection?.abort();
    const after = ['c', 'd'].map((id) => store.commit(batch([id])));
    await Promise.all([...before, ...after]);
    expect(await idsInLog()).toEqual(['first', 'a', 'b', 'c', 'd']);
  });

  it('go through again once a process that was taken for dead has joined anew', async () => {
    await database.query('SELECT carillon.bury_member(no) FROM carillon.members');
    expect(await outcomeOf(store.commit(leased('refused')))).toBe('CARILLON_LEASE_LOST');
    await store.sharing.join();
    expect(await outcomeOf(store.commit(batch(['mine'], { joined: 1, generation: 1 })))).toEqual([2]);
  });

  it('wait for one within a transaction whose process hangs before its end, but not for as long as its lease', async () => {
    const transaction = await store.begin(60_000);
    // All of its commit but the end.
    await (transaction as unknown as { write(batch: CommitBatch): Promise<unknown> }).write(batch(['hangs']));
    await store.commit(batch(['waits']));
    expect(await idsInLog()).toEqual(['first', 'waits']);
    await expect(transaction.commit(batch(['late']))).rejects.toMatchObject({ code: 'CARILLON_DATABASE_UNREACHABLE' });
  });
});
