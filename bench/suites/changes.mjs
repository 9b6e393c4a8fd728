// Row changes: how fast a backlog of committed changes is read from a replication slot.
import { performance } from 'node:perf_hooks';
import pg from 'pg';
import { startPostgres } from '../../scripts/postgres-server.mjs';

export const title = 'Row changes from PostgreSQL';
export const figures = [
  { key: 'value', label: 'changes/s', better: 'higher', digits: 0 },
  { key: 'busy', label: 'main thread busy', better: 'lower', digits: 2 },
];
export const about =
  'A server of its own for each run, with the same settings; the slot is made, then rows are inserted and updated, and then the backlog is read to its end, from connecting on. pg_recvlogical writes what pgoutput sends to /dev/null; Carillon makes an event of each change and publishes it to a bus on the memory engine, which keeps it. What bounds it: the server, which reads its log with one process, and beside it the main thread.';

const peers = ['pg_recvlogical', 'changes'];
export const scenarios = [
  {
    name: 'rows-100',
    label: '100 rows a transaction',
    peers,
    reference: 'pg_recvlogical',
    rows: 100,
    targets: { changes: 0.8 },
  },
  {
    name: 'rows-1',
    label: '1 row a transaction',
    peers,
    reference: 'pg_recvlogical',
    rows: 1,
    targets: { changes: 0.8 },
  },
];

const changesOf = { 1: 60_000, 100: 400_000 };

/** The same rows as the other suites' events, in columns. */
const table = `CREATE TABLE orders (id bigint PRIMARY KEY, customer text NOT NULL, amount integer NOT NULL, currency char(3) NOT NULL,
  items jsonb NOT NULL, note text, placed timestamptz NOT NULL DEFAULT now())`;

const fill = `CREATE PROCEDURE fill(first int, last int, step int) LANGUAGE plpgsql AS $$
BEGIN
  FOR at IN 0 .. (last - first) / step LOOP
    INSERT INTO orders (id, customer, amount, currency, items, note)
    SELECT n, 'c' || 100000 + n % 5000, 1000000 + n, 'EUR', '[{"sku":"a-1042","quantity":2},{"sku":"b-7","quantity":1}]',
           'please leave the parcel at the door, many thanks!'
      FROM generate_series(first + at * step, least(last, first + at * step + step - 1)) n;
    COMMIT;
    UPDATE orders SET amount = amount + 1 WHERE id BETWEEN first + at * step AND least(last, first + at * step + step - 1);
    COMMIT;
  END LOOP;
END $$`;

export async function run(peer, { scenario }) {
  const { rows } = scenarios.find(({ name }) => name === scenario);
  const changes = changesOf[rows];
  const server = await startPostgres();
  try {
    const client = new pg.Client({ connectionString: server.url() });
    await client.connect();
    await client.query(table);
    await client.query(fill);
    const reader = await peer.prepareChanges({ server, client, table: 'orders' });
    await client.query(`SET synchronous_commit = off`);
    await client.query(`CALL fill(1, ${changes / 2}, ${rows})`);
    await client.query('CHECKPOINT');
    const { lsn } = (await client.query('SELECT pg_current_wal_insert_lsn() AS lsn')).rows[0];
    await client.query('UPDATE orders SET amount = 0 WHERE id = 1');
    await client.end();
    const startMs = performance.now();
    const loop = performance.eventLoopUtilization();
    await reader.readTo({ lsn, changes });
    const value = changes / ((performance.now() - startMs) / 1000);
    const busy = reader.inProcess ? performance.eventLoopUtilization(loop).utilization : undefined;
    await reader.close();
    return { value, busy };
  } finally {
    await server.dispose();
  }
}
