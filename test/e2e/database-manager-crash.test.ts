import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, serverUrl, type FreshDatabase } from '../postgres/fresh-database.ts';

const program = fileURLToPath(new URL('../programs/database-manager.mjs', import.meta.url));

let client: pg.Pool;

beforeAll(() => {
  client = new pg.Pool({ connectionString: serverUrl(), max: 2 });
});

afterAll(() => client.end());

interface Run {
  readonly child: ChildProcess;
  readonly output: () => string;
  /** By which signal or with which code, and what it had to say. */
  readonly ended: Promise<{ readonly by: string | number | null; readonly output: string }>;
}

interface Request {
  readonly specversion: '1.0';
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string;
  readonly data: Readonly<Record<string, unknown>>;
}

const typeOf = (done: Run): string =>
  (JSON.parse(done.output().trim().split('\n').at(-1) ?? '') as { type: string }).type;

/** A manager with a database of its own, and names for what it is to make. All of it is gone after the test. */
class Scene {
  readonly manager: FreshDatabase;
  readonly running: Set<ChildProcess> = new Set();
  readonly names: string[] = [];
  requests = 0;

  static async open(onTestFinished: (work: () => Promise<void>) => void): Promise<Scene> {
    const scene = new Scene(await freshDatabase());
    onTestFinished(() => scene.close());
    return scene;
  }

  constructor(manager: FreshDatabase) {
    this.manager = manager;
  }

  async close(): Promise<void> {
    for (const child of this.running) child.kill('SIGKILL');
    const made = await inside<{ there: boolean }>(
      this.manager.name,
      "SELECT to_regclass('database_manager.jobs') IS NOT NULL AS there",
    );
    const jobs = made[0]?.there
      ? await inside<{ job: string }>(this.manager.name, 'SELECT job FROM database_manager.jobs')
      : [];
    for (const name of [...this.names, ...jobs.map(({ job }) => job)]) {
      await client.query(`DROP DATABASE IF EXISTS ${pg.escapeIdentifier(name)} WITH (FORCE)`);
    }
    await this.manager.drop();
  }

  newName(): string {
    const name = `${this.manager.name}_${this.names.length + 1}`;
    this.names.push(name);
    return name;
  }

  async existing(): Promise<string> {
    const name = this.newName();
    await client.query(`CREATE DATABASE ${name} TEMPLATE template0`);
    return name;
  }

  request(type: string, name: string, data: Readonly<Record<string, unknown>>): Request {
    const id = `request-${++this.requests}`;
    return { specversion: '1.0', id, source: '/test', type, subject: name, data: { name, ...data } };
  }

  run(event: Request, step?: string, signal: NodeJS.Signals = 'SIGKILL'): Run {
    const { hostname, port, username, password } = new URL(this.manager.url);
    const config = {
      name: 'test',
      host: hostname,
      port: Number(port),
      user: username,
      password: decodeURIComponent(password),
      database: this.manager.name,
    };
    const child = spawn(process.execPath, [program, JSON.stringify({ config, event, step, signal })]);
    this.running.add(child);
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const ended = once(child, 'exit').then(([code, by]) => {
      this.running.delete(child);
      return { by: (by ?? code) as string | number | null, output };
    });
    return { child, output: () => output, ended };
  }
}

/** Kills the manager at a step of the job, lets another finish it, and says which fact came of it. */
async function killedAt(scene: Scene, step: string, event: Request): Promise<string> {
  const first = scene.run(event, step);
  expect(await first.ended).toMatchObject({ by: 'SIGKILL' });
  // The same event again: who does not know what became of it asks again.
  const second = scene.run(event);
  expect(await second.ended).toMatchObject({ by: 0 });
  await assertOnce(scene, event);
  return typeOf(second);
}

/** One fact, one log row for the request and one for the fact, the job over, and nothing under its name. */
async function assertOnce({ manager }: Scene, { id }: Request): Promise<void> {
  const rows = await inside(
    manager.name,
    `WITH facts AS (SELECT * FROM carillon.events WHERE attributes::jsonb->>'causationid' = '${id}')
     SELECT (SELECT count(*)::int FROM facts) AS facts,
            (SELECT count(*)::int FROM logs WHERE event_id = '${id}') AS "requestRows",
            (SELECT count(*)::int FROM logs WHERE event_id IN (SELECT id FROM facts)) AS "factRows",
            (SELECT count(*)::int FROM database_manager.jobs WHERE state IN ('begun', 'taken')) AS open,
            (SELECT count(*)::int FROM pg_database WHERE datname IN (SELECT job FROM database_manager.jobs)) AS half`,
  );
  expect(rows[0]).toEqual({ facts: 1, requestRows: 1, factRows: 1, open: 0, half: 0 });
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

// Most of their time goes by while a dead process is found out: so several at once.
describe.concurrent('the database manager, killed at a step of its job, finishes it when it is started again', () => {
  it.for(['locked', 'begun', 'made', 'extended', 'settled'])('create, at %s', async (step, { onTestFinished }) => {
    const scene = await Scene.open(onTestFinished);
    const name = scene.newName();
    const data = { connectionLimit: 7, extensions: ['citext', 'earthdistance'] };
    expect(await killedAt(scene, step, scene.request('database.create.requested', name, data))).toBe(
      'database.created',
    );
    expect((await found(name))?.limit).toBe(7);
    expect(await extensions(name)).toEqual(['citext', 'cube', 'earthdistance', 'plpgsql']);
  });

  it.for(['begun', 'made', 'extended', 'undone', 'settled'])(
    'create for nobody, at %s',
    async (step, { onTestFinished }) => {
      const scene = await Scene.open(onTestFinished);
      const name = scene.newName();
      const event = scene.request('database.create.requested', name, { owner: 'nobody at all' });
      expect(await killedAt(scene, step, event)).toBe('database.create.failed');
      expect(await found(name)).toBeUndefined();
    },
  );

  it.for(['locked', 'begun', 'extended', 'settled'])('alter, at %s', async (step, { onTestFinished }) => {
    const scene = await Scene.open(onTestFinished);
    const [name, rename] = [await scene.existing(), scene.newName()];
    const before = await found(name);
    const data = { rename, connectionLimit: 3, addExtensions: ['hstore'] };
    expect(await killedAt(scene, step, scene.request('database.alter.requested', name, data))).toBe('database.altered');
    expect(await found(rename)).toEqual({ oid: before?.oid, limit: 3 });
    expect(await found(name)).toBeUndefined();
    expect(await extensions(rename)).toEqual(['hstore', 'plpgsql']);
  });

  it.for(['begun', 'settled'])('alter with an extension that is not there, at %s', async (step, { onTestFinished }) => {
    const scene = await Scene.open(onTestFinished);
    const name = await scene.existing();
    const data = { connectionLimit: 3, addExtensions: ['hstore', 'no such extension'] };
    const event = scene.request('database.alter.requested', name, data);
    expect(await killedAt(scene, step, event)).toBe('database.alter.failed');
    expect((await found(name))?.limit).toBe(-1);
    expect(await extensions(name)).toEqual(['plpgsql']);
  });

  it.for(['locked', 'taken', 'dropped', 'settled'])('drop, at %s', async (step, { onTestFinished }) => {
    const scene = await Scene.open(onTestFinished);
    const name = await scene.existing();
    const event = scene.request('database.drop.requested', name, {});
    const first = scene.run(event, step);
    expect(await first.ended).toMatchObject({ by: 'SIGKILL' });
    // From the moment it is taken the name is free, and what gets it then is nobody's to drop.
    const isFree = (await found(name)) === undefined;
    expect(isFree).toBe(step !== 'locked');
    if (isFree) await client.query(`CREATE DATABASE ${name} TEMPLATE template0`);
    const second = scene.run(event);
    expect(await second.ended).toMatchObject({ by: 0 });
    expect(typeOf(second)).toBe('database.dropped');
    await assertOnce(scene, event);
    expect((await found(name)) !== undefined).toBe(isFree);
  });

  it.for(['taken', 'undone', 'settled'])('drop of what cannot be dropped, at %s', async (step, { onTestFinished }) => {
    const scene = await Scene.open(onTestFinished);
    const name = await scene.existing();
    const subscription =
      "CREATE SUBSCRIPTION s CONNECTION 'dbname=none' PUBLICATION p WITH (connect = false, slot_name = NONE)";
    await inside(name, subscription);
    const before = await found(name);
    const event = scene.request('database.drop.requested', name, { force: true });
    expect(await killedAt(scene, step, event)).toBe('database.drop.failed');
    expect(await found(name)).toEqual(before);
    await inside(name, 'DROP SUBSCRIPTION s');
  });
});

describe.concurrent('the database manager, stopped in the middle of a job', () => {
  it.for(['begun', 'made', 'extended'])(
    'does no harm when it wakes up after another has finished it: create, at %s',
    async (step, { onTestFinished }) => {
      const scene = await Scene.open(onTestFinished);
      const name = scene.newName();
      const event = scene.request('database.create.requested', name, { extensions: ['citext'] });
      const first = scene.run(event, step, 'SIGSTOP');
      await expect.poll(() => first.output(), { timeout: 30_000 }).toContain(`reached ${step}`);
      const second = scene.run(event);
      expect(await second.ended).toMatchObject({ by: 0 });
      expect(typeOf(second)).toBe('database.created');
      first.child.kill('SIGCONT');
      // It has lost its lease, and finds the fact that the other has published.
      expect(await first.ended).toMatchObject({ by: 0 });
      await assertOnce(scene, event);
      expect(await extensions(name)).toEqual(['citext', 'plpgsql']);
    },
  );
});
