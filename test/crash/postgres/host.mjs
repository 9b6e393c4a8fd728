import { randomBytes } from 'node:crypto';
import { createWriteStream, mkdirSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startPostgres } from '../../../scripts/postgres-server.mjs';
import { MissingError } from '../commands.mjs';

/** What the engine and the application connect as: no superuser, so that the connections kept for those are not theirs. */
const ROLE = 'carillon_crash';
const SCHEMA = 'carillon';
/** Of a subscription. */
const SLOTS = 64;
const BACK_WITHIN_MS = 60_000;
const POLL_MS = 20;
/** SQLSTATE of a server that has no connection left. */
const TOO_MANY = '53300';

/** The tables of the application under test. */
const TABLES = `
  CREATE TABLE crash_effects (event text NOT NULL);
  CREATE TABLE crash_orders (event text PRIMARY KEY);
  GRANT ALL ON crash_effects, crash_orders TO ${ROLE}`;

/**
 * The server of a run: one of its own, or the one that CARILLON_POSTGRES_URL names when the mode does no harm to others.
 * @param options `{ own, flags }`: `own` is for modes that break the server itself
 */
export async function openHost({ own = false, flags = [] } = {}) {
  const given = process.env.CARILLON_POSTGRES_URL;
  if (given && !own) return new Host(null, given);
  try {
    const server = await startPostgres({ flags });
    return new Host(server, server.url());
  } catch (error) {
    throw new MissingError(error.message);
  }
}

class Host {
  constructor(server, url) {
    this.server = server;
    this.adminUrl = url;
    this.password = randomBytes(12).toString('hex');
  }

  /** A database of one trial alone. */
  async database() {
    const name = `carillon_crash_${randomBytes(6).toString('hex')}`;
    const admin = new Admin(this.adminUrl);
    try {
      await admin.query(
        `DO $$ BEGIN CREATE ROLE ${ROLE} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`,
      );
      await admin.query(`ALTER ROLE ${ROLE} PASSWORD '${this.password}'`);
      await admin.query(`CREATE DATABASE ${name} TEMPLATE template0 OWNER ${ROLE}`);
    } finally {
      await admin.close();
    }
    const database = new Database(this, name);
    await database.admin.query(TABLES);
    return database;
  }

  async dispose() {
    await this.server?.dispose();
  }
}

/** A connection of the harness itself, made again when the server was restarted. */
class Admin {
  client = null;

  constructor(url) {
    this.url = url;
  }

  async query(text, values) {
    const endsAt = Date.now() + BACK_WITHIN_MS;
    for (;;) {
      try {
        this.client ??= await connected(this.url);
        return (await this.client.query(text, values)).rows;
      } catch (error) {
        // An error of a statement has a position or a severity of its own; all else is the connection's end.
        if (error.severity === 'ERROR' || Date.now() > endsAt) throw error;
        await this.close();
        await sleep(POLL_MS);
      }
    }
  }

  async close() {
    const { client } = this;
    this.client = null;
    await client?.end().catch(() => client.connection.stream.destroy());
  }
}

async function connected(url) {
  const client = new pg.Client({ connectionString: url, application_name: 'crash harness' });
  // Told by the query that meets it.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

function addressOf(url, { database, user, password, port }) {
  const made = new URL(url);
  made.pathname = `/${database}`;
  if (user !== undefined) made.username = user;
  if (password !== undefined) made.password = password;
  if (port !== undefined) Object.assign(made, { hostname: '127.0.0.1', port: String(port) });
  return made.href;
}

class Database {
  constructor(host, name) {
    this.host = host;
    this.name = name;
    this.admin = new Admin(addressOf(host.adminUrl, { database: name }));
  }

  /** For the processes under test. @param port of a proxy before the server */
  url(port) {
    const { adminUrl, password } = this.host;
    return addressOf(adminUrl, { database: this.name, user: ROLE, password, port });
  }

  /** Where the server listens. */
  get address() {
    const { hostname, port } = new URL(this.host.adminUrl);
    return { host: hostname, port: Number(port || 5432) };
  }

  /** Waits for a condition on the engine's own tables. Resolves with how long it took in ms, null when it did not come in time. */
  async wait(condition, values, withinMs) {
    const startedAt = Date.now();
    for (;;) {
      const [{ holds }] = await this.admin.query(`SELECT (${condition}) AS holds`, values);
      const ms = Date.now() - startedAt;
      if (holds) return ms;
      if (ms > withinMs) return null;
      await sleep(POLL_MS);
    }
  }

  /** Nobody is a member of the processes that were, and nothing is left without an owner. */
  handedOver(pid, withinMs) {
    return this.wait(
      `NOT EXISTS (SELECT FROM ${SCHEMA}.members WHERE name LIKE '%:' || $1) AND NOT EXISTS (
         SELECT FROM ${SCHEMA}.shares s WHERE NOT EXISTS (SELECT FROM ${SCHEMA}.members m WHERE m.no = s.owner))`,
      [String(pid)],
      withinMs,
    );
  }

  /** Subscriptions whose slots are not each in one share: some are nobody's, or somebody's twice. */
  strayed() {
    return this.admin.query(
      `SELECT subscription, count(*)::int AS slots, count(DISTINCT slot)::int AS different
         FROM ${SCHEMA}.shares, unnest(slots) AS slot
        GROUP BY subscription HAVING count(*) <> ${SLOTS} OR count(DISTINCT slot) <> ${SLOTS}`,
    );
  }

  isMember(pid, withinMs) {
    return this.wait(`EXISTS (SELECT FROM ${SCHEMA}.members WHERE name LIKE '%:' || $1)`, [String(pid)], withinMs);
  }

  isGone(pid, withinMs) {
    return this.wait(`NOT EXISTS (SELECT FROM ${SCHEMA}.members WHERE name LIKE '%:' || $1)`, [String(pid)], withinMs);
  }

  /** Server processes of the engine and the application. @param condition on pg_stat_activity */
  async sessions(condition = 'true') {
    const rows = await this.admin.query(
      `SELECT pid FROM pg_stat_activity WHERE datname = $1 AND usename = '${ROLE}' AND ${condition} ORDER BY pid`,
      [this.name],
    );
    return rows.map(({ pid }) => pid);
  }

  async terminate(pids) {
    await this.admin.query('SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid', [pids]);
  }

  /** Takes connections, as others who use the server do, until there are none left. */
  async fill() {
    const taken = [];
    for (;;) {
      try {
        taken.push(await connected(this.url()));
      } catch (error) {
        if (error.code === TOO_MANY) return taken;
        throw error;
      }
    }
  }

  /** Every table and register, and who is doing what, as files of JSON lines. */
  async dump(directory) {
    mkdirSync(directory, { recursive: true });
    const tables = await this.admin.query(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname IN ('${SCHEMA}', 'public')
       UNION ALL SELECT unnest(array['pg_stat_activity', 'pg_locks', 'pg_sequences'])`,
    );
    for (const { name } of tables) {
      const file = createWriteStream(join(directory, `${name.replaceAll('"', '')}.jsonl`));
      for (const { line } of await this.admin.query(`SELECT row_to_json(t)::text AS line FROM ${name} t`)) {
        file.write(`${line}\n`);
      }
      file.end();
      await once(file, 'close');
    }
  }

  async drop() {
    await this.admin.close();
    const admin = new Admin(this.host.adminUrl);
    try {
      await admin.query(`DROP DATABASE IF EXISTS ${this.name} WITH (FORCE)`);
    } finally {
      await admin.close();
    }
  }
}
