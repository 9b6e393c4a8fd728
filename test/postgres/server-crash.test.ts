import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startPostgres, type PostgresServer } from '../../scripts/postgres-server.mjs';
import { emptyBatch, type StoreTransaction } from '../../src/engine/log/store.ts';
import type { PostgresStore } from '../../src/engines/postgres/store.ts';
import type { Connection } from '../../src/postgres/index.ts';
import { deliveryRow, openedStore } from './opened-store.ts';

let server: PostgresServer;
let store: PostgresStore;

beforeAll(async () => {
  // What a transaction writes stays in the server's memory until it commits.
  server = await startPostgres({ flags: ['-c', 'wal_writer_delay=10s', '-c', 'autovacuum=off'] });
  store = await openedStore(server.url());
}, 60_000);
afterAll(async () => {
  await store.close();
  await server.dispose();
});

async function withClient<Result>(work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client(server.url());
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Makes transactions that commit, up to this number; whether it was one of theirs. */
function reuse(number: bigint): Promise<boolean> {
  return withClient(async (client) => {
    for (;;) {
      const { rows } = await client.query<{ id: string }>('SELECT pg_current_xact_id()::text AS id');
      const id = BigInt(rows[0]?.id ?? '0');
      if (id >= number) return id === number;
    }
  });
}

it('a transaction that a crash of the server cut short, and whose number another has got since, was not committed', async () => {
  await withClient((client) => client.query('CREATE TABLE effects (id text NOT NULL)'));
  const { no: subscription } = await store.openSubscription('some', 'beginning');
  const [share] = await store.sharing.claim(subscription, 64, []);
  const acknowledged = deliveryRow({ subscription, position: 1, slot: share?.slots[0] ?? 0, state: 'acked' });

  const transaction = (await store.begin(60_000)) as StoreTransaction & { readonly connection: Connection };
  const { connection } = transaction;
  await transaction.run('INSERT INTO effects VALUES ($1)', ['a']);
  const [row] = await transaction.all('SELECT pg_current_xact_id()::text AS id', []);
  let reused = false;
  const query = connection.query.bind(connection);
  connection.query = async (asked) => {
    if (asked === 'COMMIT') {
      await server.restart('immediate');
      reused = await reuse(BigInt(row?.['id'] as string));
    }
    return query(asked);
  };
  const commit = transaction.commit({ ...emptyBatch, put: [acknowledged] });
  await expect(commit).rejects.toMatchObject({ code: 'CARILLON_DATABASE_UNREACHABLE' });
  expect(reused).toBe(true);
  const { rows } = await withClient((client) => client.query('SELECT id FROM effects'));
  expect(rows).toEqual([]);
});
