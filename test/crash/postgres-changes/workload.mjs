// The load on the captured database: pgbench where it is installed, else the same tables and transactions by `pg`.
import { spawn } from 'node:child_process';
import pg from 'pg';
import { findTool } from '../../../scripts/postgres-tools.mjs';

export const tables = ['pgbench_accounts', 'pgbench_branches', 'pgbench_history', 'pgbench_tellers'];

const CLIENTS = 4;
const ACCOUNTS = 100_000;
const TELLERS = 10;

/** @returns {Promise<{ name: string, init(url: string, scale: number): Promise<void>, run(url: string, seconds: number): Promise<number> }>} */
export async function workload() {
  const pgbench = await findTool('pgbench');
  return pgbench === null ? ownWorkload : pgbenchWorkload(pgbench);
}

function pgbenchWorkload(program) {
  const call = (url, args) =>
    new Promise((resolve, reject) => {
      const { hostname, port, username, password, pathname } = new URL(url);
      const child = spawn(program, args, {
        env: {
          ...process.env,
          PGHOST: hostname,
          PGPORT: port,
          PGUSER: decodeURIComponent(username),
          PGPASSWORD: decodeURIComponent(password),
          PGDATABASE: decodeURIComponent(pathname.slice(1)),
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let output = '';
      child.stdout.on('data', (chunk) => (output += chunk));
      child.stderr.on('data', (chunk) => (output += chunk));
      child.on('error', reject);
      child.on('close', (code) => (code === 0 ? resolve(output) : reject(new Error(`pgbench failed:\n${output}`))));
    });
  return {
    name: 'pgbench',
    init: async (url, scale) => void (await call(url, ['-i', '-q', '-s', String(scale)])),
    run: async (url, seconds) => {
      const output = await call(url, ['-n', '-c', String(CLIENTS), '-T', String(seconds)]);
      return Number(/number of transactions actually processed: (\d+)/.exec(output)?.[1] ?? 0);
    },
  };
}

const ownWorkload = {
  name: 'the same transactions by pg',
  init: (url, scale) =>
    withClient(url, async (client) => {
      await client.query(`
        CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
        CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
        CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
        CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
        INSERT INTO pgbench_branches SELECT b, 0 FROM generate_series(1, ${scale}) b;
        INSERT INTO pgbench_tellers SELECT t, (t - 1) / ${TELLERS} + 1, 0 FROM generate_series(1, ${scale * TELLERS}) t;
        INSERT INTO pgbench_accounts SELECT a, (a - 1) / ${ACCOUNTS} + 1, 0, '' FROM generate_series(1, ${scale * ACCOUNTS}) a`);
    }),
  run: async (url, seconds) => {
    const endsMs = Date.now() + seconds * 1000;
    const upTo = (n) => 1 + Math.floor(Math.random() * n);
    const oneClient = () =>
      withClient(url, async (client) => {
        const scale = (await client.query('SELECT count(*)::int AS n FROM pgbench_branches')).rows[0].n;
        let count = 0;
        for (; Date.now() < endsMs; count++) {
          const [delta, aid, tid, bid] = [
            upTo(10_000) - 5000,
            upTo(scale * ACCOUNTS),
            upTo(scale * TELLERS),
            upTo(scale),
          ];
          await client.query(`
            BEGIN;
            UPDATE pgbench_accounts SET abalance = abalance + ${delta} WHERE aid = ${aid};
            UPDATE pgbench_tellers SET tbalance = tbalance + ${delta} WHERE tid = ${tid};
            UPDATE pgbench_branches SET bbalance = bbalance + ${delta} WHERE bid = ${bid};
            INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (${tid}, ${bid}, ${aid}, ${delta}, now());
            COMMIT`);
        }
        return count;
      });
    const counts = await Promise.all(Array.from({ length: CLIENTS }, oneClient));
    return counts.reduce((sum, count) => sum + count, 0);
  },
};

export async function withClient(url, work) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
