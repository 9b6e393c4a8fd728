import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createBus, defineEvent, typed } from 'carillon';
import { outbox } from 'carillon/sources/outbox';
import { sqlite } from 'carillon/sqlite';
import { seededRandom } from '../../src/testing/seeded-random.ts';
import pg from 'pg';
import { expect, it, onTestFinished } from 'vitest';
import { freshDatabase, type FreshDatabase } from '../postgres/fresh-database.ts';

const program = fileURLToPath(new URL('../programs/outbox-relay.mjs', import.meta.url));

const Counted = defineEvent('counted', {
  data: typed<{ readonly key: string; readonly n: number }>(),
  subject: ({ key }) => key,
});

const WRITERS = 6;
const KEYS = 4;
const BY_WRITER = 150;
/** How long the relay may take for what is left when all is written. */
const PATIENCE_MS = 30_000;

/** What a key's transactions have committed, by the count that each of them saw. */
type Committed = Map<string, { readonly id: string; readonly n: number }[]>;

/**
 * Transactions as applications make them: six in ten have an id early, by another write; one in ten is rolled back; those of
 * one key take turns by a lock on its row, and each counts it up. So the count is the order in which they were committed.
 */
async function write({ url }: FreshDatabase, seed: number): Promise<Committed> {
  const random = seededRandom(seed);
  const { publish } = outbox();
  const committed: Committed = new Map();
  const pause = (): Promise<unknown> => sleep(random() * 4);
  const writer = async (): Promise<void> => {
    const client = new pg.Client(url);
    await client.connect();
    for (let at = 0; at < BY_WRITER; at++) {
      const key = `key-${Math.floor(random() * KEYS)}`;
      await client.query('BEGIN');
      if (random() < 0.6) await client.query('INSERT INTO early VALUES (1)');
      await pause();
      const { rows } = await client.query<{ n: number }>('UPDATE keys SET n = n + 1 WHERE key = $1 RETURNING n', [key]);
      const n = rows[0]?.n ?? 0;
      await pause();
      const [id = ''] = await publish(client, Counted({ key, n }));
      await pause();
      if (random() < 0.1) {
        await client.query('ROLLBACK');
        continue;
      }
      await client.query('COMMIT');
      committed.set(key, [...(committed.get(key) ?? []), { id, n }]);
    }
    await client.end();
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
  return committed;
}

interface Verdict {
  readonly committed: number;
  readonly missed: number;
  readonly inverted: number;
  readonly doubled: number;
  readonly phantom: number;
}

/** Compares the log of the bus with what was committed. */
async function judge(directory: string, committed: Committed): Promise<Verdict> {
  const bus = await createBus({ engine: sqlite(directory) });
  const seen = new Map<string, number>();
  const reached = new Map<string, number>();
  let inverted = 0;
  for await (const { event } of bus.read()) {
    const { key, n } = event.data as { key: string; n: number };
    seen.set(event.id, (seen.get(event.id) ?? 0) + 1);
    if (n < (reached.get(key) ?? 0)) inverted++;
    reached.set(key, Math.max(n, reached.get(key) ?? 0));
  }
  await bus.stop();
  const ids = new Set([...committed.values()].flat().map(({ id }) => id));
  return {
    committed: ids.size,
    missed: [...ids].filter((id) => !seen.has(id)).length,
    inverted,
    doubled: [...seen.values()].filter((times) => times > 1).length,
    phantom: [...seen.keys()].filter((id) => !ids.has(id)).length,
  };
}

async function scene(): Promise<{ database: FreshDatabase; directory: string; start: () => Promise<ChildProcess> }> {
  const database = await freshDatabase();
  const directory = await mkdtemp(join(tmpdir(), 'carillon-outbox-'));
  const children = new Set<ChildProcess>();
  onTestFinished(async () => {
    for (const child of children) child.kill('SIGKILL');
    await rm(directory, { recursive: true, force: true });
    await database.drop();
  });
  await database.query(`CREATE TABLE early (x int); CREATE TABLE keys (key text PRIMARY KEY, n int NOT NULL);
    INSERT INTO keys SELECT 'key-' || k, 0 FROM generate_series(0, ${KEYS - 1}) AS k`);
  const start = async (): Promise<ChildProcess> => {
    const child = spawn(process.execPath, [program, directory, database.url], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.add(child);
    child.on('exit', () => children.delete(child));
    await once(child.stdout as NodeJS.ReadableStream, 'data');
    return child;
  };
  return { database, directory, start };
}

async function waiting({ url }: FreshDatabase): Promise<number> {
  const client = new pg.Client(url);
  await client.connect();
  const { rows } = await client.query<{ n: number }>('SELECT count(*)::int AS n FROM carillon_outbox.incoming');
  await client.end();
  return rows[0]?.n ?? 0;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

it('an outbox relay killed at random loses nothing, inverts no key and doubles nothing', async () => {
  const { database, directory, start } = await scene();
  const random = seededRandom(7);
  let child = await start();
  let writing = true;
  let kills = 0;
  let endsMs = Infinity;
  const written = write(database, 1).finally(() => {
    writing = false;
    endsMs = performance.now() + PATIENCE_MS;
  });
  // What is still waiting then is told as missed.
  while ((writing || (await waiting(database)) > 0) && performance.now() < endsMs) {
    if (writing) {
      await sleep(50 + random() * 200);
      await end(child, 'SIGKILL');
      kills++;
      child = await start();
    } else await sleep(20);
  }
  await end(child, 'SIGTERM');
  const verdict = await judge(directory, await written);
  expect(verdict).toEqual({ committed: verdict.committed, missed: 0, inverted: 0, doubled: 0, phantom: 0 });
  expect(verdict.committed).toBeGreaterThan(600);
  expect(kills).toBeGreaterThan(1);
});

it('the same transactions in the order of their ids, up to the oldest that is running, come inverted', async () => {
  const { database, directory, start } = await scene();
  const child = await start();
  // The usual filter, in place of the sequencer by visibility: if this came out right, the test above would prove nothing.
  await database.query(`CREATE OR REPLACE FUNCTION carillon_outbox.read_incoming(found bigint[], bytes_max bigint)
    RETURNS TABLE (no bigint, event text) LANGUAGE sql STABLE SET search_path = carillon_outbox AS $$
      SELECT i.no, i.event FROM incoming i
       WHERE i.no = ANY (found) AND i.xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
       ORDER BY i.xmin::text::bigint, i.no $$`);
  const committed = await write(database, 1);
  await expect.poll(() => waiting(database), { timeout: PATIENCE_MS }).toBe(0);
  await end(child, 'SIGTERM');
  const verdict = await judge(directory, committed);
  expect(verdict).toMatchObject({ missed: 0, doubled: 0, phantom: 0 });
  expect(verdict.inverted).toBeGreaterThan(0);
});
