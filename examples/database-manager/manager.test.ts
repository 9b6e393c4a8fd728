import { randomBytes } from 'node:crypto';
import type { Bus, Event } from 'carillon';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, serverUrl, type FreshDatabase } from '../../test/postgres/fresh-database.ts';
import { connected, databaseConfigOf, type DatabaseConfig } from './database-config.ts';
import {
  DatabaseAlterRequested,
  DatabaseCreateRequested,
  DatabaseDescribeAsked,
  DatabaseDropRequested,
  DatabaseListAsked,
  EventsAsked,
} from './events.ts';
import { startDatabaseManager } from './manager.ts';

const tag = randomBytes(4).toString('hex');
let own: FreshDatabase;
let config: DatabaseConfig;
let bus: Bus;
let client: pg.Client;

beforeAll(async () => {
  own = await freshDatabase();
  const given = databaseConfigOf(own.url, 'test');
  // A server that trusts everybody takes any.
  config = { ...given, password: given.password || `secret-${tag}` };
  bus = await startDatabaseManager(config, { protectedNames: [`kept_${tag}`] });
  client = new pg.Client(serverUrl());
  await client.connect();
}, 60_000);

afterAll(async () => {
  await bus.stop();
  const { rows } = await client.query<{ name: string }>(
    'SELECT datname AS name FROM pg_database WHERE position($1 IN datname) > 0',
    [tag],
  );
  for (const { name } of rows) await client.query(`DROP DATABASE ${client.escapeIdentifier(name)} WITH (FORCE)`);
  await client.query(`DROP ROLE IF EXISTS "${tag}"`);
  await client.end();
  await own.drop();
}, 60_000);

interface Fact {
  readonly type: string;
  readonly data: { readonly reason?: { readonly code: string; readonly message: string } } & Record<string, unknown>;
}

/** Publishes a request, and waits for the fact that follows from it. */
async function ask(request: Event): Promise<Fact> {
  await bus.publish(request);
  const found = new AbortController();
  for await (const { event } of bus.follow({ type: 'database.>' }, found.signal)) {
    if (event.causationid === request.id) return event as unknown as Fact;
  }
  throw new Error('the log has ended');
}

async function settingsOf(name: string): Promise<unknown> {
  const { rows } = await client.query(
    `SELECT pg_get_userbyid(datdba) AS owner, datconnlimit AS "connectionLimit", datallowconn AS "allowConnections"
       FROM pg_database WHERE datname = $1`,
    [name],
  );
  return rows[0];
}

const failure = (fact: Fact): unknown => [fact.type, fact.data.reason?.code];

describe('the database manager', { timeout: 60_000 }, () => {
  it.each([
    ['quotes and semicolons', `a"; DROP DATABASE x_${tag}; --`],
    ['apostrophes, backslashes and format marks', `o'${tag} \\ %I $1 E'`],
    ['Chinese', `数据库_${tag}`],
    ['emoji and combining marks', `🛎e\u0301_${tag}`],
    ['capitals and a space', `My Shop ${tag}`],
    ['63 bytes', tag.padEnd(63, 'x')],
    ['the name of the engine’s schema and a dot', `carillon.${tag}`],
  ])('makes, changes and drops a database under exactly its name: %s', async (_what, name) => {
    const renamed = `${name.slice(0, 40)}"'2`;
    expect((await ask(DatabaseCreateRequested({ name, connectionLimit: 2 }))).type).toBe('database.created');
    expect(await settingsOf(name)).toMatchObject({ connectionLimit: 2 });
    const change = DatabaseAlterRequested({ name, rename: renamed, addExtensions: ['citext'] });
    expect((await ask(change)).type).toBe('database.altered');
    expect(await settingsOf(name)).toBeUndefined();
    expect(await bus.request(DatabaseDescribeAsked({ name: renamed }))).toMatchObject({ extensions: ['citext'] });
    expect((await ask(DatabaseDropRequested({ name: renamed }))).type).toBe('database.dropped');
    expect(await settingsOf(renamed)).toBeUndefined();
  });

  it.each([
    ['empty', ''],
    ['with a NUL', 'a\0b'],
    ['of 64 bytes', 'x'.repeat(64)],
    ['of 64 bytes in 22 characters', `x${'库'.repeat(21)}`],
    ['with a line break', 'a\nb'],
    ['with half a surrogate pair', 'a\ud800'],
  ])('refuses a name %s when the event is made, and does not cut it off', (_what, name) => {
    const invalid = expect.objectContaining({ code: 'CARILLON_DATA_INVALID' }) as Error;
    expect(() => DatabaseCreateRequested({ name })).toThrow(invalid);
    expect(() => DatabaseDropRequested({ name })).toThrow(invalid);
    expect(() => DatabaseAlterRequested({ name: 'a', rename: name })).toThrow(invalid);
    expect(() => DatabaseCreateRequested({ name: 'a', extensions: [name] })).toThrow(invalid);
  });

  it('refuses such a name in a raw event too', async () => {
    const raw = { specversion: '1.0', id: tag, source: '/raw', type: 'database.create.requested', data: { name: '' } };
    await expect(bus.publish(raw as Event)).rejects.toMatchObject({ code: 'CARILLON_DATA_INVALID' });
  });

  it.each(['postgres', 'template0', 'template1', `kept_${tag}`, 'carillon_job_x'])(
    'refuses to touch %s: the event is not stored',
    async (name) => {
      const refused = { code: 'CARILLON_REFUSED', cause: { code: 'DATABASE_PROTECTED' } };
      for (const event of [
        DatabaseCreateRequested({ name }),
        DatabaseAlterRequested({ name, connectionLimit: 0 }),
        DatabaseAlterRequested({ name: `any_${tag}`, rename: name }),
        DatabaseDropRequested({ name, force: true }),
      ]) {
        await expect(bus.publish(event)).rejects.toMatchObject(refused);
      }
    },
  );

  it('refuses the manager’s own database', async () => {
    await expect(bus.publish(DatabaseDropRequested({ name: own.name, force: true }))).rejects.toMatchObject({
      code: 'CARILLON_REFUSED',
    });
  });

  it('refuses it in the job as well, for events that no sync handler has seen', async () => {
    const event = DatabaseDropRequested({ name: 'template1', force: true });
    await client.query('BEGIN');
    await connected(config, own.name, async (inside) => {
      await inside.query('BEGIN');
      await inside.query(`SELECT carillon.enqueue('-1', '0', $1, $2, $3, $4, NULL, NULL, $5, NULL)`, [
        event.id,
        event.source,
        event.type,
        event.subject,
        JSON.stringify(event.data),
      ]);
      await inside.query('COMMIT');
    });
    await client.query('ROLLBACK');
    const found = new AbortController();
    for await (const stored of bus.follow({ type: 'database.drop.failed' }, found.signal)) {
      if (stored.event.causationid !== event.id) continue;
      expect(failure(stored.event as unknown as Fact)).toEqual(['database.drop.failed', 'DATABASE_PROTECTED']);
      break;
    }
    expect(await settingsOf('template1')).toBeDefined();
  });

  it('refuses a template, whatever its name', async () => {
    const name = `template_${tag}`;
    await client.query(`CREATE DATABASE ${name} TEMPLATE template0 IS_TEMPLATE true`);
    expect(failure(await ask(DatabaseDropRequested({ name, force: true })))).toEqual([
      'database.drop.failed',
      'DATABASE_PROTECTED',
    ]);
    await client.query(`ALTER DATABASE ${name} IS_TEMPLATE false`);
  });

  it('does once what it is asked twice', async () => {
    const name = `twice_${tag}`;
    const request = DatabaseCreateRequested({ name });
    expect((await ask(request)).type).toBe('database.created');
    expect((await bus.publish(request)).duplicate).toBe(true);
    expect(failure(await ask(DatabaseCreateRequested({ name })))).toEqual([
      'database.create.failed',
      'DATABASE_EXISTS',
    ]);
    expect((await ask(DatabaseDropRequested({ name }))).type).toBe('database.dropped');
    expect(failure(await ask(DatabaseDropRequested({ name })))).toEqual(['database.drop.failed', 'DATABASE_UNKNOWN']);
  });

  it('does what is asked of one database in the order in which it was asked', async () => {
    const name = `order_${tag}`;
    const requests = [
      DatabaseCreateRequested({ name }),
      DatabaseAlterRequested({ name, connectionLimit: 9 }),
      DatabaseDropRequested({ name }),
      DatabaseCreateRequested({ name, connectionLimit: 4 }),
    ];
    await bus.publish(requests);
    const facts: string[] = [];
    const found = new AbortController();
    for await (const { event } of bus.follow({ type: 'database.>' }, found.signal)) {
      if (requests.some(({ id }) => id === event.causationid)) facts.push(event.type);
      if (facts.length === requests.length) break;
    }
    expect(facts).toEqual(['database.created', 'database.altered', 'database.dropped', 'database.created']);
    expect(await settingsOf(name)).toMatchObject({ connectionLimit: 4 });
  });

  it('changes owner, limit, connections and extensions, and tells what was before', async () => {
    const name = `changes_${tag}`;
    await client.query(`CREATE ROLE "${tag}"`);
    await ask(DatabaseCreateRequested({ name, extensions: ['hstore'] }));
    const fact = await ask(
      DatabaseAlterRequested({
        name,
        owner: tag,
        connectionLimit: 0,
        allowConnections: false,
        dropExtensions: ['hstore', 'citext'],
      }),
    );
    const now = { owner: tag, connectionLimit: 0, allowConnections: false };
    expect(fact.data.reason).toBeUndefined();
    expect(fact.data).toMatchObject({ name, ...now, before: { name, connectionLimit: -1, allowConnections: true } });
    expect(await settingsOf(name)).toEqual(now);
    expect(await bus.request(DatabaseDescribeAsked({ name }))).toMatchObject({ ...now, extensions: null });
    expect((await ask(DatabaseAlterRequested({ name, allowConnections: true }))).type).toBe('database.altered');
    expect(await bus.request(DatabaseDescribeAsked({ name }))).toMatchObject({ extensions: [] });
  });

  it('changes nothing when it cannot change all', async () => {
    const [name, taken] = [`all_${tag}`, `taken_${tag}`];
    await ask(DatabaseCreateRequested({ name }));
    await ask(DatabaseCreateRequested({ name: taken }));
    const before = await settingsOf(name);
    for (const [event, code] of [
      [DatabaseAlterRequested({ name, connectionLimit: 1, rename: taken }), 'DATABASE_EXISTS'],
      [DatabaseAlterRequested({ name, connectionLimit: 1, owner: `nobody_${tag}` }), 'ROLE_UNKNOWN'],
      [DatabaseAlterRequested({ name, connectionLimit: 1, addExtensions: ['citext', 'none'] }), 'EXTENSION_UNKNOWN'],
    ] as const) {
      expect(failure(await ask(event))).toEqual(['database.alter.failed', code]);
      expect(await settingsOf(name)).toEqual(before);
    }
    expect(await bus.request(DatabaseDescribeAsked({ name }))).toMatchObject({ extensions: [] });
  });

  it('leaves a database in use alone, unless it is to be forced', async () => {
    const name = `used_${tag}`;
    await ask(DatabaseCreateRequested({ name }));
    const session = new pg.Client(serverUrl(name));
    const ended = new Promise((resolve) => session.on('error', resolve));
    await session.connect();
    expect(failure(await ask(DatabaseDropRequested({ name })))).toEqual(['database.drop.failed', 'DATABASE_IN_USE']);
    expect(await settingsOf(name)).toBeDefined();
    expect((await ask(DatabaseDropRequested({ name, force: true }))).type).toBe('database.dropped');
    await ended;
  });

  it('refuses a change that changes nothing, and options there are not', () => {
    const invalid = expect.objectContaining({ code: 'CARILLON_DATA_INVALID' }) as Error;
    expect(() => DatabaseAlterRequested({ name: 'a' })).toThrow(invalid);
    expect(() => DatabaseCreateRequested({ name: 'a', password: 'x' } as never)).toThrow(invalid);
  });

  it('lists the databases, and says of none that it is not there', async () => {
    const listed = await bus.request(DatabaseListAsked({}));
    expect(listed.find(({ name }) => name === own.name)).toMatchObject({ protected: true });
    expect(listed.find(({ name }) => name === 'template1')).toMatchObject({ protected: true });
    expect(await bus.request(DatabaseDescribeAsked({ name: `none_${tag}` }))).toBeNull();
  });

  it('keeps the article’s tables: its statements run, and each event handled is in both', async () => {
    const statements = `
      INSERT INTO events (title, description, time) VALUES ('createEvent', 'This is a create event', '2023-03-16 12:00:00');
      UPDATE events SET time = '2023-03-16 12:30:01' WHERE title = 'createEvent';
      INSERT INTO logs (timestamp, event_type, message) VALUES (now(), 'createEvent', 'This is a create event');
      DELETE FROM logs WHERE event_type = 'createEvent'`;
    const told = await bus.request(EventsAsked({ after: '2020-01-01T00:00:00Z', limit: 1000 }));
    expect(told.length).toBeGreaterThan(0);
    await bus.drain();
    await connected(config, own.name, async (inside) => {
      await inside.query(statements);
      const { rows } = await inside.query("SELECT * FROM events WHERE time > '2023-03-16 12:30:00'");
      const { last } = await bus.ends();
      expect(rows.length).toBe(last + 1);
      const unlogged = await inside.query(
        'SELECT type FROM carillon.events e WHERE NOT EXISTS (SELECT FROM logs l WHERE l.source = e.source AND l.event_id = e.id)',
      );
      expect(unlogged.rows).toEqual([]);
      await inside.query("DELETE FROM events WHERE title = 'createEvent'");
    });
  });

  it('lets the password be seen nowhere', async () => {
    expect(config.password).not.toBe('');
    await connected(config, own.name, async (inside) => {
      const { rows } = await inside.query<{ name: string }>(
        `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
          WHERE table_schema IN ('public', 'carillon', 'database_manager') AND table_type = 'BASE TABLE'`,
      );
      expect(rows.length).toBeGreaterThan(10);
      const telling: string[] = [];
      for (const { name } of rows) {
        const found = await inside.query(`SELECT FROM ${name} AS t WHERE position($1 IN t::text) > 0`, [
          config.password,
        ]);
        if (found.rowCount !== 0) telling.push(name);
      }
      expect(telling).toEqual([]);
    });
  });
});
