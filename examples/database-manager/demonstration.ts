import { randomBytes } from 'node:crypto';
import { type Bus, type Event, isCarillonError, toError } from 'carillon';
import { connected, type DatabaseConfig, databaseConfigOf } from './database-config.ts';
import {
  DatabaseAlterRequested,
  DatabaseCreateRequested,
  DatabaseDescribeAsked,
  DatabaseDropRequested,
  DatabaseListAsked,
  EventsAsked,
} from './events.ts';
import { startDatabaseManager } from './manager.ts';
import { WORKING_PREFIX } from './names.ts';
import type { Reason } from './reasons.ts';

/** How long a request may take until its fact is there, in ms. */
const PATIENCE_MS = 60_000;

/** A line of the table. */
interface Line {
  readonly asked: string;
  readonly came: string;
  readonly ok: boolean;
}

interface Outcome {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** The facts that end a job. */
const ENDS = /^database\.(created|altered|dropped|(create|alter|drop)\.failed)$/;

class Demonstration {
  readonly bus: Bus;
  readonly lines: Line[] = [];
  readonly ended: Map<string, Outcome> = new Map();
  /** Resolves when the event that the module has timed is handled. */
  readonly audited: Promise<void>;
  wake: () => void = () => undefined;

  constructor(bus: Bus) {
    this.bus = bus;
    this.audited = new Promise((resolve) => {
      bus.observe((told) => {
        if (told.kind === 'delivery-end' && told.subscription === 'databases.audit') resolve();
      });
    });
    bus.observe((told) => {
      if (told.kind !== 'delivery-end' || told.subscription !== 'chronicle.events') return;
      const { event } = told.stored;
      if (!ENDS.test(event.type) || event.causationid === undefined) return;
      this.ended.set(event.causationid, { type: event.type, data: event.data as Outcome['data'] });
      this.wake();
    });
  }

  /** Publishes a request and waits for what became of it. */
  async ask(event: Event): Promise<Outcome> {
    await this.bus.publish(event);
    const endsMs = performance.now() + PATIENCE_MS;
    for (;;) {
      const outcome = this.ended.get(event.id);
      if (outcome) return outcome;
      const leftMs = endsMs - performance.now();
      if (leftMs <= 0) throw new Error(`nothing has come of ${event.type} ${event.subject ?? ''} in ${PATIENCE_MS} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  check(asked: string, came: string, ok: boolean): void {
    this.lines.push({ asked, came, ok });
  }

  async expectFact(asked: string, event: Event, fact: string): Promise<void> {
    const { type, data } = await this.ask(event);
    const reason = data['reason'] as Reason | undefined;
    this.check(asked, reason ? `${type}: ${reason.message}` : type, type === fact);
  }

  async expectFailure(asked: string, event: Event, code: Reason['code']): Promise<void> {
    const { type, data } = await this.ask(event);
    const reason = data['reason'] as Reason | undefined;
    this.check(asked, reason ? `${type}: ${reason.code}` : type, reason?.code === code);
  }

  /** What is refused before it is stored. */
  async expectRefusal(asked: string, publish: () => Promise<unknown>, code: string): Promise<void> {
    try {
      await publish();
      this.check(asked, 'published', false);
    } catch (error) {
      const why = toError(toError(error).cause ?? error).message;
      this.check(
        asked,
        `${isCarillonError(error) ? error.code : 'an unknown error'}: ${why}`,
        isCarillonError(error) && error.code === code,
      );
    }
  }
}

/**
 * Shows the manager at work on the server that the URL names: makes a database of its own there, asks for others, and
 * checks on the server what has come of it. Leaves nothing behind, whatever happens. Resolves with whether all was as it
 * should be.
 */
export async function demonstrate(url: string, server: string): Promise<boolean> {
  const given = databaseConfigOf(url, 'carillon example');
  const tag = randomBytes(4).toString('hex');
  const config: DatabaseConfig = { ...given, database: `carillon_manager_${tag}` };
  const role = `carillon_owner_${tag}`;
  const before = await bystanders(given, tag);
  console.log(`database manager on ${server}, its own database is ${config.database}\n`);
  try {
    await connected(given, given.database, async (client) => {
      await client.query(`CREATE ROLE ${role}`);
      await client.query(`GRANT ${role} TO CURRENT_USER`);
      await client.query(`CREATE DATABASE ${config.database} TEMPLATE template0`);
    });
    const lines = await story(config, given, { tag, role });
    print(lines);
    await cleanUp(given, tag, role);
    const left = await bystanders(given, tag);
    const clean = left.own.length === 0 && before.own.length === 0;
    console.log(clean ? '\nnothing was left behind' : `\nleft behind: ${left.own.join(', ')}`);
    const failed = lines.filter(({ ok }) => !ok).length + (clean ? 0 : 1);
    console.log(
      failed === 0 ? `all ${lines.length + 1} checks held` : `${failed} of ${lines.length + 1} checks failed`,
    );
    return failed === 0;
  } finally {
    await cleanUp(given, tag, role);
  }
}

async function story(
  config: DatabaseConfig,
  given: DatabaseConfig,
  { tag, role }: { readonly tag: string; readonly role: string },
): Promise<readonly Line[]> {
  const bus = await startDatabaseManager(config, { protectedNames: [given.database] });
  try {
    const show = new Demonstration(bus);
    const began = new Date(Date.now() - 1000).toISOString();
    const [shop, store, hostile, chinese] = [
      `shop_${tag}`,
      `store_${tag}`,
      `a"; DROP DATABASE shop_${tag}; --`,
      `数据库_${tag}`,
    ];
    const row = (name: string) => settingsOf(given, name);

    // Created, altered, dropped.
    const first = DatabaseCreateRequested({ name: shop, connectionLimit: 20, extensions: ['citext'] });
    await show.expectFact(`create ${shop}`, first, 'database.created');
    show.check('  it is on the server', `limit ${(await row(shop))?.limit ?? 'none'}`, (await row(shop))?.limit === 20);
    const again = await bus.publish(first);
    show.check(
      '  the same request once more',
      again.duplicate ? 'is the same event' : 'a second event',
      again.duplicate,
    );
    await show.expectFailure('  another request for it', DatabaseCreateRequested({ name: shop }), 'DATABASE_EXISTS');
    const change = DatabaseAlterRequested({
      name: shop,
      rename: store,
      owner: role,
      connectionLimit: 5,
      addExtensions: ['hstore'],
    });
    await show.expectFact(`alter it: ${store}, owner, limit, hstore`, change, 'database.altered');
    const changed = await row(store);
    show.check(
      '  it is so on the server',
      `owner ${changed?.owner ?? 'none'}, limit ${changed?.limit ?? 'none'}`,
      changed?.owner === role && changed.limit === 5,
    );
    const described = await bus.request(DatabaseDescribeAsked({ name: store }));
    show.check(
      '  described',
      (described?.extensions ?? []).join(', '),
      described?.extensions?.join() === 'citext,hstore',
    );

    // Names that mean something else when they are not quoted.
    for (const name of [hostile, chinese]) {
      await show.expectFact(`create ${name}`, DatabaseCreateRequested({ name }), 'database.created');
      show.check(
        '  under exactly that name',
        (await row(name)) ? 'there' : 'not there',
        (await row(name)) !== undefined,
      );
      await show.expectFact(`drop ${name}`, DatabaseDropRequested({ name }), 'database.dropped');
    }
    show.check(`  ${store} is untouched`, (await row(store)) ? 'there' : 'gone', (await row(store)) !== undefined);
    for (const [what, name] of Object.entries({
      'an empty name': '',
      'a name with a NUL': `a\0b`,
      'a name of 64 bytes': '库'.repeat(21) + 'x',
    })) {
      await show.expectRefusal(
        `create ${what}`,
        async () => bus.publish(DatabaseCreateRequested({ name })),
        'CARILLON_DATA_INVALID',
      );
    }

    // Dangerous targets.
    for (const name of ['postgres', 'template1', config.database]) {
      await show.expectRefusal(
        `drop ${name}`,
        () => bus.publish(DatabaseDropRequested({ name, force: true })),
        'CARILLON_REFUSED',
      );
    }

    // What fails says why.
    await show.expectFailure(
      'create with an unknown owner',
      DatabaseCreateRequested({ name: `a_${tag}`, owner: `nobody_${tag}` }),
      'ROLE_UNKNOWN',
    );
    await show.expectFailure(
      'create with an unknown extension',
      DatabaseCreateRequested({ name: `a_${tag}`, extensions: [`none_${tag}`] }),
      'EXTENSION_UNKNOWN',
    );
    show.check(
      '  nothing of it is left',
      (await row(`a_${tag}`)) ? 'there' : 'not there',
      (await row(`a_${tag}`)) === undefined,
    );
    await show.expectFailure(
      `drop ${shop}, which has another name now`,
      DatabaseDropRequested({ name: shop }),
      'DATABASE_UNKNOWN',
    );
    await connected(config, store, async () => {
      await show.expectFailure(
        `drop ${store} while it is in use`,
        DatabaseDropRequested({ name: store }),
        'DATABASE_IN_USE',
      );
    });
    const listed = await bus.request(DatabaseListAsked({}));
    show.check(
      'list',
      `${listed.length} databases`,
      listed.some(({ name }) => name === store) &&
        listed.some(({ name, protected: kept }) => name === 'template1' && kept),
    );
    await show.expectFact(`drop ${store}`, DatabaseDropRequested({ name: store }), 'database.dropped');
    show.check('  it is gone', (await row(store)) ? 'there' : 'gone', (await row(store)) === undefined);

    // The article's tables. The event that the module has timed is among them.
    await show.audited;
    const told = await bus.request(EventsAsked({ after: began, limit: 1000 }));
    await bus.drain({ deadlineMs: PATIENCE_MS });
    await afterwards(show, config, began, told.length);
    return show.lines;
  } finally {
    await bus.stop();
  }
}

/** What the manager's own database says in the end. */
async function afterwards(show: Demonstration, config: DatabaseConfig, began: string, told: number): Promise<void> {
  const { last } = await show.bus.ends();
  const dead = await show.bus.deadLetters.list();
  await connected(config, config.database, async (client) => {
    const one = async (sql: string, values: unknown[] = []): Promise<number> =>
      Number((await client.query<{ n: string }>(sql, values)).rows[0]?.n);
    const events = await one('SELECT count(*) AS n FROM events WHERE time > $1', [began]);
    show.check(
      "SELECT * FROM events WHERE time > '...'",
      `${events} rows, ${told} of them told by a request`,
      events === last && told > 0 && told <= events,
    );
    const unlogged = await one(
      `SELECT count(*) AS n FROM carillon.events e WHERE NOT EXISTS (
         SELECT FROM logs l WHERE l.source = e.source AND l.event_id = e.id)`,
    );
    const rows = await one('SELECT count(*) AS n FROM logs');
    show.check(
      'each handled event is in logs',
      `${rows} rows for ${last} events, ${unlogged} missing`,
      unlogged === 0 && rows === last,
    );
    const open = await one("SELECT count(*) AS n FROM database_manager.jobs WHERE state IN ('begun', 'taken')");
    const stray = await one(
      'SELECT count(*) AS n FROM pg_database WHERE starts_with(datname, $1) AND datname IN (SELECT job FROM database_manager.jobs)',
      [WORKING_PREFIX],
    );
    show.check('jobs under way, databases half made', `${open}, ${stray}`, open === 0 && stray === 0);
    show.check('dead letters', String(dead.length), dead.length === 0);
    const secret =
      config.password === ''
        ? 0
        : await one(
            `SELECT (SELECT count(*) FROM logs l WHERE position($1 IN l::text) > 0) + (SELECT count(*) FROM events e WHERE position($1 IN e::text) > 0)
            + (SELECT count(*) FROM carillon.events e WHERE position($1 IN e::text) > 0) AS n`,
            [config.password],
          );
    show.check('the password in events or logs', `${secret} times`, secret === 0);
  });
}

async function settingsOf(given: DatabaseConfig, name: string): Promise<{ owner: string; limit: number } | undefined> {
  return connected(given, given.database, async (client) => {
    const { rows } = await client.query<{ owner: string; limit: number }>(
      'SELECT pg_get_userbyid(datdba) AS owner, datconnlimit AS limit FROM pg_database WHERE datname = $1',
      [name],
    );
    return rows[0];
  });
}

/** What is on the server and bears the mark of this run. */
async function bystanders(given: DatabaseConfig, tag: string): Promise<{ readonly own: readonly string[] }> {
  return connected(given, given.database, async (client) => {
    const { rows } = await client.query<{ name: string }>(
      `SELECT datname AS name FROM pg_database WHERE position($1 IN datname) > 0
       UNION ALL SELECT rolname FROM pg_roles WHERE position($1 IN rolname) > 0`,
      [tag],
    );
    return { own: rows.map(({ name }) => name) };
  });
}

/** Drops what the run has made, working databases of its jobs included. */
async function cleanUp(given: DatabaseConfig, tag: string, role: string): Promise<void> {
  const manager = `carillon_manager_${tag}`;
  const names = await connected(given, given.database, async (client) => {
    const { rows } = await client.query<{ name: string }>(
      'SELECT datname AS name FROM pg_database WHERE position($1 IN datname) > 0',
      [tag],
    );
    return rows.map(({ name }) => name);
  });
  const working = names.includes(manager) ? await workingNames({ ...given, database: manager }) : [];
  await connected(given, given.database, async (client) => {
    // The manager's own last: while it is there, the working names can be found again.
    for (const name of [
      ...working,
      ...names.filter((one) => one !== manager),
      ...names.filter((one) => one === manager),
    ]) {
      await client.query(`DROP DATABASE IF EXISTS ${client.escapeIdentifier(name)} WITH (FORCE)`);
    }
    await client.query(`DROP ROLE IF EXISTS ${role}`);
  });
}

async function workingNames(config: DatabaseConfig): Promise<readonly string[]> {
  return connected(config, config.database, async (client) => {
    const { rows: made } = await client.query("SELECT FROM pg_class WHERE oid = to_regclass('database_manager.jobs')");
    if (made.length === 0) return [];
    const { rows } = await client.query<{ job: string }>('SELECT job FROM database_manager.jobs');
    return rows.map(({ job }) => job);
  });
}

const SHOWN_MAX = 100;

/** Columns of a terminal that the text takes: Chinese characters take two. */
const widthOf = (text: string): number => text.length + (text.match(/\p{Script=Han}/gu)?.length ?? 0);

function print(lines: readonly Line[]): void {
  const width = Math.max(...lines.map(({ asked }) => widthOf(asked)));
  for (const { asked, came, ok } of lines) {
    const shown = came.length > SHOWN_MAX ? `${came.slice(0, SHOWN_MAX)}...` : came;
    console.log(`${ok ? 'ok  ' : 'FAIL'}  ${asked}${' '.repeat(width - widthOf(asked))}  ${shown}`);
  }
}
