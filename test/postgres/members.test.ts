import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createBus, defineEvent, silentLogger, type Bus } from '../../src/index.ts';
import { postgres } from '../../src/engines/postgres/index.ts';
import { resolveOptions } from '../../src/engines/postgres/options.ts';
import { PostgresStore } from '../../src/engines/postgres/store.ts';
import { connectorOf } from '../../src/postgres/index.ts';
import { freshDatabase, type FreshDatabase } from './fresh-database.ts';

const happened = defineEvent('test.happened');
/** For a condition on the database or the bus. */
const PATIENCE = { timeout: 20_000, interval: 20 };

describe('members of a log in PostgreSQL', () => {
  let database: FreshDatabase;
  let client: pg.Client;
  let bus: Bus;

  beforeEach(async () => {
    database = await freshDatabase();
    client = new pg.Client(database.url);
    await client.connect();
  });

  afterEach(async () => {
    await bus.stop();
    await client.end();
    await database.drop();
  });

  it('start over once when they were taken for dead, and handle and commit again', async () => {
    const warnings: string[] = [];
    const log = { ...silentLogger, warn: (message: string) => void warnings.push(message), child: () => log };
    bus = await createBus({ engine: postgres({ url: database.url, lookMs: 20 }), log });
    const handled: string[] = [];
    await bus.subscribe(happened, ({ id }) => void handled.push(id), { name: 'mine', from: 'beginning' });
    const first = await bus.publish(happened(undefined));
    await vi.waitUntil(() => handled.includes(first.id), PATIENCE);

    const { rows } = await client.query<{ no: number }>('SELECT no FROM carillon.members');
    await client.query('SELECT carillon.bury_member($1)', [rows[0]?.no]);
    // The next commit of a lease is refused, and then there is another member.
    const second = await bus.publish(happened(undefined));
    await vi.waitUntil(() => handled.includes(second.id), PATIENCE);
    const third = await bus.publish(happened(undefined));
    await vi.waitUntil(() => handled.includes(third.id), PATIENCE);
    await bus.drain();

    expect(warnings.filter((message) => message.includes('taken for dead'))).toHaveLength(1);
    const members = await client.query<{ no: number }>('SELECT no FROM carillon.members');
    expect(members.rows).toHaveLength(1);
    expect(members.rows[0]?.no).not.toBe(rows[0]?.no);
  });

  it.each([
    ['at once', 1],
    ['when its lease is over, by which time all else waits for it', 2000],
  ])('replace one that hangs with the lock of the log in its hands, %s', async (_when, hungLeaseMs) => {
    bus = await createBus({ engine: postgres({ url: database.url, lookMs: 20, leaseMs: 300 }) });
    const handled: string[] = [];
    await bus.subscribe(happened, ({ id }) => void handled.push(id), { name: 'mine', from: 'beginning' });
    const hung = [new pg.Client(database.url), new pg.Client(database.url)];
    for (const one of hung) {
      one.on('error', () => undefined);
      await one.connect();
      await one.query('SET search_path = carillon');
    }
    const [first, second] = hung as [pg.Client, pg.Client];
    const { rows } = await first.query<{ no: number }>(`SELECT join_members('hung', ${hungLeaseMs}) AS no`);
    // As its own session would.
    await second.query(`SELECT pg_advisory_lock(member_class(), ${rows[0]?.no})`);
    const commit = `SELECT assert_member(${rows[0]?.no}, NULL), lock_log()`;
    await first.query('BEGIN');
    await first.query(commit);
    // Has the lock when the first one is ended, and hangs with it too.
    await second.query('BEGIN');
    const waiting = second.query(commit).catch(() => undefined);

    await client.query('BEGIN');
    const { id } = await bus.publish(happened(undefined), { tx: client });
    await client.query('COMMIT');
    await vi.waitUntil(() => handled.includes(id), PATIENCE);
    await waiting;
    expect(handled).toEqual([id]);
    await Promise.all(hung.map((one) => one.end().catch(() => undefined)));
  });

  it('that are dead leave no failed transaction to whoever reads next', async () => {
    bus = await createBus({ engine: postgres({ url: database.url }) });
    const store = new PostgresStore(resolveOptions({ url: database.url }));
    const { no } = await store.openSubscription('some', 'beginning');
    await store.sharing.join();
    await client.query('SELECT carillon.bury_member($1)', [store.sharing.member]);
    const [remains, names] = await Promise.allSettled([store.sharing.remains(no, [0]), store.subscriptionNames()]);
    expect(remains).toMatchObject({ status: 'rejected', reason: { code: 'CARILLON_LEASE_LOST' } });
    expect(names).toEqual({ status: 'fulfilled', value: ['some'] });
    await store.close();
  });
});

describe('a connection of a pool of the application', () => {
  it('is given back when it breaks', async () => {
    const database = await freshDatabase();
    const pool = new pg.Pool({ connectionString: database.url, max: 1, connectionTimeoutMillis: 5000 });
    const connector = connectorOf({ pool });
    const first = await connector.connect();
    first.abort();
    await first.broken;
    const second = await connector.connect();
    expect(await second.query('SELECT 1 AS one')).toMatchObject({ rows: [{ one: 1 }] });
    await second.close();
    await pool.end();
    await database.drop();
  });
});
