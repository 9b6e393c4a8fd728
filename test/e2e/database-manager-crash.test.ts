import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, serverUrl, type FreshDatabase } from '../postgres/fresh-database.ts';

const program = fileURLToPath(new URL('../programs/database-manager.mjs', import.meta.url));

let manager: FreshDatabase;
let client: pg.Client;
const running = new Set<ChildProcess>();
/** Names that tests made, dropped in the end whatever happened. */
const names = new Set<string>();

beforeAll(async () => {
  manager = await freshDatabase();
  client = new pg.Client(serverUrl());
  await client.connect();
});

afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  const { rows } = await client.query<{ datname: string }>(
    "SELECT datname FROM pg_database WHERE starts_with(datname, 'carillon_job_')",
  );
  for (const name of [...names, ...rows.map(({ datname }) => datname)]) {
    await client.query(`DROP DATABASE IF EXISTS ${client.escapeIdentifier(name)} WITH (FORCE)`);
  }
  await client.end();
  await manager.drop();
});

interface Run {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<string | number | null>;
}

interface Request {
  readonly type: string;
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

let requests = 0;

function eventOf({ type, name, data }: Request) {
  const id = `request-${++requests}`;
  return { specversion: '1.0', id, source: '/test', type, subject: name, data: { name, ...data } };
}

function run(event: unknown, step?: string, signal: NodeJS.Signals = 'SIGKILL'): Run {
  const { hostname, port, username, password } = new URL(manager.url);
  const config = {
    name: 'test',
    host: hostname,
    port: Number(port),
    user: username,
    password: decodeURIComponent(password),
    database: manager.name,
  };
  const child = spawn(process.execPath, [program, JSON.stringify({ config, event, step, signal })]);
  running.add(child);
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = once(child, 'exit').then(([code, by]) => {
    running.delete(child);
    return (by ?? code) as string | number | null;
  });
  return { child, output: () => output, ended };
}

/** Kills the manager at a step of the job, lets another finish it, and says which fact came of it. */
async function killedAt(step: string, event: ReturnType<typeof eventOf>): Promise<string> {
  const first = run(event, step);
  expect(await first.ended, first.output()).toBe('SIGKILL');
  // The same event again: who does not know what became of it asks again.
  const second = run(event);
  expect(await second.ended, second.output()).toBe(0);
  await assertOnce(event);
  return typeOf(second);
}

const typeOf = (done: Run): string =>
  (JSON.parse(done.output().trim().split('\n').at(-1) ?? '') as { type: string }).type;

/** One fact, one log row for the request and one for the fact, the job over, and nothing under its name. */
async function assertOnce({ id }: { readonly id: string }): Promise<void> {
  const inside = new pg.Client(manager.url);
  await inside.connect();
  try {
    const { rows } = await inside.query(
      `WITH facts AS (SELECT * FROM carillon.events WHERE attributes::jsonb->>'causationid' = $1)
       SELECT (SELECT count(*)::int FROM facts) AS facts,
              (SELECT count(*)::int FROM logs WHERE event_id = $1) AS "requestRows",
              (SELECT count(*)::int FROM logs WHERE event_id IN (SELECT id FROM facts)) AS "factRows",
              (SELECT count(*)::int FROM database_manager.jobs WHERE state IN ('begun', 'taken')) AS open,
              (SELECT count(*)::int FROM pg_database WHERE datname IN (SELECT job FROM database_manager.jobs)) AS half`,
      [id],
    );
    expect(rows[0]).toEqual({ facts: 1, requestRows: 1, factRows: 1, open: 0, half: 0 });
  } finally {
    await inside.end();
  }
}

async function found(name: string): Promise<{ oid: number; limit: number } | undefined> {
  const { rows } = await client.query<{ oid: number; limit: number }>(
    'SELECT oid, datconnlimit AS limit FROM pg_database WHERE datname = $1',
    [name],
  );
  return rows[0];
}

async function inside<Row extends pg.QueryResultRow>(name: string, sql: string): Promise<Row[]> {
  const other = new pg.Client(serverUrl(name));
  await other.connect();
  try {
    return (await other.query<Row>(sql)).rows;
  } finally {
    await other.end();
  }
}

async function extensions(name: string): Promise<string[]> {
  const rows = await inside<{ extname: string }>(name, 'SELECT extname FROM pg_extension ORDER BY extname');
  return rows.map(({ extname }) => extname);
}

let made = 0;

function newName(): string {
  const name = `${manager.name}_${++made}`;
  names.add(name);
  return name;
}

async function existing(): Promise<string> {
  const name = newName();
  await client.query(`CREATE DATABASE ${name} TEMPLATE template0`);
  return name;
}

describe('the database manager, killed at a step of its job, finishes it when it is started again', () => {
  it.each(['locked', 'begun', 'made', 'extended', 'settled'])('create, at %s', async (step) => {
    const name = newName();
    const data = { connectionLimit: 7, extensions: ['citext', 'earthdistance'] };
    expect(await killedAt(step, eventOf({ type: 'database.create.requested', name, data }))).toBe('database.created');
    expect((await found(name))?.limit).toBe(7);
    expect(await extensions(name)).toEqual(['citext', 'cube', 'earthdistance', 'plpgsql']);
  });

  it.each(['begun', 'made', 'extended', 'undone', 'settled'])('create for nobody, at %s', async (step) => {
    const name = newName();
    const event = eventOf({ type: 'database.create.requested', name, data: { owner: 'nobody at all' } });
    expect(await killedAt(step, event)).toBe('database.create.failed');
    expect(await found(name)).toBeUndefined();
  });

  it.each(['locked', 'begun', 'extended', 'settled'])('alter, at %s', async (step) => {
    const [name, rename] = [await existing(), newName()];
    const before = await found(name);
    const data = { rename, connectionLimit: 3, addExtensions: ['hstore'] };
    expect(await killedAt(step, eventOf({ type: 'database.alter.requested', name, data }))).toBe('database.altered');
    expect(await found(rename)).toEqual({ oid: before?.oid, limit: 3 });
    expect(await found(name)).toBeUndefined();
    expect(await extensions(rename)).toEqual(['hstore', 'plpgsql']);
  });

  it.each(['begun', 'settled'])('alter with an extension that is not there, at %s', async (step) => {
    const name = await existing();
    const data = { connectionLimit: 3, addExtensions: ['hstore', 'no such extension'] };
    const event = eventOf({ type: 'database.alter.requested', name, data });
    expect(await killedAt(step, event)).toBe('database.alter.failed');
    expect((await found(name))?.limit).toBe(-1);
    expect(await extensions(name)).toEqual(['plpgsql']);
  });

  it.each(['locked', 'taken', 'dropped', 'settled'])('drop, at %s', async (step) => {
    const name = await existing();
    const first = run(eventOf({ type: 'database.drop.requested', name, data: {} }), step);
    expect(await first.ended, first.output()).toBe('SIGKILL');
    // From the moment it is taken the name is free, and what gets it then is nobody's to drop.
    const isFree = (await found(name)) === undefined;
    expect(isFree).toBe(step !== 'locked');
    if (isFree) await client.query(`CREATE DATABASE ${name} TEMPLATE template0`);
    const event = eventOf({ type: 'database.create.requested', name: newName(), data: {} });
    const second = run(event);
    expect(await second.ended, second.output()).toBe(0);
    await assertOnce({ id: `request-${requests - 1}` });
    expect((await found(name)) !== undefined).toBe(isFree);
  });

  it.each(['taken', 'undone', 'settled'])('drop of what cannot be dropped, at %s', async (step) => {
    const name = await existing();
    const subscription =
      "CREATE SUBSCRIPTION s CONNECTION 'dbname=none' PUBLICATION p WITH (connect = false, slot_name = NONE)";
    await inside(name, subscription);
    const before = await found(name);
    const event = eventOf({ type: 'database.drop.requested', name, data: { force: true } });
    expect(await killedAt(step, event)).toBe('database.drop.failed');
    expect(await found(name)).toEqual(before);
    await inside(name, 'DROP SUBSCRIPTION s');
  });
});

describe('the database manager, stopped in the middle of a job', () => {
  it.each(['begun', 'made', 'extended'])(
    'does no harm when it wakes up after another has finished it: create, at %s',
    async (step) => {
      const name = newName();
      const event = eventOf({ type: 'database.create.requested', name, data: { extensions: ['citext'] } });
      const first = run(event, step, 'SIGSTOP');
      await expect.poll(() => first.output(), { timeout: 30_000 }).toContain(`reached ${step}`);
      const second = run(event);
      expect(await second.ended, second.output()).toBe(0);
      expect(typeOf(second)).toBe('database.created');
      first.child.kill('SIGCONT');
      // It has lost its lease, and finds the fact that the other has published.
      expect(await first.ended, first.output()).toBe(0);
      await assertOnce(event);
      expect(await extensions(name)).toEqual(['citext', 'plpgsql']);
    },
  );
});
