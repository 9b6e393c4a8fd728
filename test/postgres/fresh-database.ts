import { randomBytes } from 'node:crypto';
import pg from 'pg';

/** A database of one's own on the server that the test run has. */
export interface FreshDatabase {
  readonly name: string;
  readonly url: string;
  /** Runs statements on a connection of their own. */
  query(sql: string): Promise<void>;
  drop(): Promise<void>;
}

/** The server of this test run, as its superuser sees it. */
export function serverUrl(database?: string): string {
  const given = process.env['CARILLON_POSTGRES_URL'];
  if (!given) throw new Error('CARILLON_POSTGRES_URL is not set; run the tests with npm test');
  const url = new URL(given);
  if (database !== undefined) url.pathname = `/${encodeURIComponent(database)}`;
  return url.href;
}

async function runOn(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

export async function freshDatabase(): Promise<FreshDatabase> {
  const name = `carillon_test_${randomBytes(6).toString('hex')}`;
  await runOn(serverUrl(), `CREATE DATABASE ${name} TEMPLATE template0`);
  const url = serverUrl(name);
  return {
    name,
    url,
    query: (sql) => runOn(url, sql),
    drop: () => runOn(serverUrl(), `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}
