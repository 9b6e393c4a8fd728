// One trial: a database under load, captured by a process that is killed again and again; then the events against the rows.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { startPostgres } from '../../../scripts/postgres-server.mjs';
import { between, randomFrom } from '../random.mjs';
import { compare, Rebuilt, textOf } from './rebuild.mjs';
import { tables, withClient, workload } from './workload.mjs';

const childFile = fileURLToPath(new URL('child.mjs', import.meta.url));
const PATIENCE_MS = 120_000;

/** One life of the source's process. */
class Life {
  constructor(task) {
    this.lines = [];
    this.waiters = [];
    this.process = spawn(process.execPath, [childFile], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.process.stdin.on('error', () => undefined);
    this.process.stdin.write(`${JSON.stringify(task)}\n`);
    this.ended = new Promise((resolve) => this.process.on('close', resolve));
    createInterface({ input: this.process.stdout }).on('line', (line) => {
      this.lines.push(JSON.parse(line));
      for (const wake of this.waiters.splice(0)) wake();
    });
    void this.ended.then(() => {
      for (const wake of this.waiters.splice(0)) wake();
    });
  }

  /** The first line that fits. Fails when the process ends before, or takes too long. */
  async line(fits, what) {
    let seen = 0;
    const endsMs = Date.now() + PATIENCE_MS;
    for (;;) {
      for (; seen < this.lines.length; seen++) if (fits(this.lines[seen])) return this.lines[seen];
      const told = JSON.stringify(this.lines.filter(({ published }) => published === undefined).slice(-5));
      if (this.process.exitCode !== null || this.process.signalCode !== null) {
        throw new Error(`the source ended while waiting for ${what}: ${told}`);
      }
      if (Date.now() > endsMs) throw new Error(`the source does not come to ${what}: ${told}`);
      await Promise.race([new Promise((resolve) => this.waiters.push(resolve)), sleep(1000)]);
    }
  }

  async kill() {
    this.process.kill('SIGKILL');
    await this.ended;
  }

  async stop() {
    this.process.stdin.end();
    const { published, duplicates } = await this.line((line) => line.stopped, 'a clean stop');
    await this.ended;
    return { published, duplicates };
  }
}

/** Rows of a table as the events show them, each with how often it is there. */
async function realRows(client, table) {
  const raw = { getTypeParser: (oid) => (oid === 23 ? Number : (text) => text) };
  const { rows } = await client.query({ text: `SELECT * FROM ${table}`, types: raw });
  const bag = new Map();
  for (const row of rows) {
    const text = textOf(row);
    bag.set(text, (bag.get(text) ?? 0) + 1);
  }
  return bag;
}

async function untilConfirmed(url, life) {
  await withClient(url, async (client) => {
    const { rows } = await client.query('SELECT pg_current_wal_insert_lsn() AS lsn');
    // One more transaction: when its end is confirmed, all before it is durable on the bus.
    await client.query('UPDATE pgbench_branches SET bbalance = bbalance WHERE bid = 1');
    const endsMs = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = await client.query(
        "SELECT confirmed_flush_lsn > $1::pg_lsn AS done FROM pg_replication_slots WHERE slot_name = 'carillon_changes'",
        [rows[0].lsn],
      );
      if (found.rows[0]?.done) return;
      if (Date.now() > endsMs) throw new Error(`the source does not catch up: ${JSON.stringify(life.lines.slice(-3))}`);
      await sleep(50);
    }
  });
}

/**
 * @param {{ dist: string, seconds: number, kills: number, seed: number, scale?: number, sync?: 'full' | 'off', say?: (text: string) => void }} options
 */
export async function trial({ dist, seconds, kills, seed, scale = 1, sync = 'full', say = () => undefined }) {
  const random = randomFrom(seed);
  const load = await workload();
  const server = await startPostgres();
  const directory = await mkdtemp(join(tmpdir(), 'carillon-changes-'));
  let life;
  try {
    await withClient(server.url(), (client) => client.query('CREATE DATABASE captured'));
    const url = server.url('captured');
    await load.init(url, scale);
    // It has no key; its rows are only added.
    await withClient(url, (client) => client.query('ALTER TABLE pgbench_history REPLICA IDENTITY FULL'));
    const task = { dist, url, directory, sync };
    life = new Life(task);
    const startedMs = Date.now();
    const running = load.run(url, seconds);
    running.catch(() => undefined);
    const where = { snapshot: 0, streaming: 0 };
    for (let kill = 1; kill <= kills; kill++) {
      // The first one hits the snapshot.
      const state = kill === 1 ? 'snapshot' : 'streaming';
      await life.line((line) => line.state === state, `the state ${state}`);
      const dueMs = kill === 1 ? 0 : (seconds * 1000 * (kill - 1)) / kills - (Date.now() - startedMs);
      await sleep(Math.max(0, dueMs) + between(random, 0, kill === 1 ? 400 : (seconds * 500) / kills));
      const last = life.lines.findLast((line) => line.state !== undefined).state;
      where[last] = (where[last] ?? 0) + 1;
      await life.kill();
      say(`kill ${kill} of ${kills} while ${last}`);
      life = new Life(task);
    }
    const transactions = await running;
    await life.line((line) => line.state === 'streaming', 'streaming');
    await untilConfirmed(url, life);
    const { duplicates } = await life.stop();
    say(`${transactions} transactions done; comparing`);
    return {
      load: load.name,
      seed,
      seconds,
      kills,
      where,
      transactions,
      duplicates,
      ...(await check(dist, url, directory)),
    };
  } finally {
    await life?.kill();
    await server.dispose();
    await rm(directory, { recursive: true, force: true });
  }
}

async function check(dist, url, directory) {
  const from = (path) => import(pathToFileURL(join(dist, path)).href);
  const [{ createBus }, { sqlite }] = await Promise.all(['index.js', 'engines/sqlite/index.js'].map(from));
  const bus = await createBus({ engine: sqlite({ directory }) });
  const rebuilt = new Rebuilt();
  try {
    for await (const { event } of bus.read()) rebuilt.take(event);
  } finally {
    await bus.stop();
  }
  const verdict = { lost: 0, phantom: 0 };
  const rows = {};
  await withClient(url, async (client) => {
    for (const table of tables) {
      const real = await realRows(client, table);
      rows[table] = [...real.values()].reduce((sum, count) => sum + count, 0);
      const { lost, phantom } = compare(rebuilt.rowsOf(table), real);
      verdict.lost += lost;
      verdict.phantom += phantom;
    }
  });
  const { events, snapshots, twice, impossible } = rebuilt;
  return {
    events,
    snapshots,
    rows,
    ...verdict,
    twice,
    impossible: impossible.length,
    examples: impossible.slice(0, 5),
  };
}

export const isBad = ({ lost, phantom, twice, impossible, rows }) =>
  lost + phantom + twice + impossible > 0 || tables.some((table) => !(rows[table] > 0));
