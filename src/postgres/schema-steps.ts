import { readFile } from 'node:fs/promises';
import { carillonError, isCarillonError, toError } from '../core/index.ts';
import type { Connection } from './connection.ts';
import { quoteIdentifier } from './identifiers.ts';

/** How rows of a table `incoming` are taken in order: belongs to the first step of a schema that has one. */
export const sequencingFile: URL = new URL('sql/sequencing.sql', import.meta.url);

/** The oldest server whose SQL the steps are written in. */
const SERVER_VERSION_MIN = 150_000;

/**
 * Brings a schema to this version's: `steps` are the files of each step from one version to the next. A step is never
 * changed once released: another is added. The table `schema_steps` says which have been taken. Processes that start at
 * once take turns by an advisory lock, and each step is a transaction with its entry in that table.
 *
 * Fails with `CARILLON_STORAGE_VERSION` when it is newer, with `CARILLON_DATABASE_VERSION` when the server is too old, and with
 * `CARILLON_DATABASE_RIGHTS` when this user may not make it.
 * @param connection to be closed when this fails: a transaction and a lock may be left on it
 */
export async function takeSteps(
  connection: Connection,
  schema: string,
  steps: readonly (readonly URL[])[],
): Promise<void> {
  const name = quoteIdentifier(schema, 'schema');
  const lock = { text: 'SELECT pg_advisory_lock(hashtextextended($1, 0))', values: [`carillon migrates ${schema}`] };
  await connection.query(lock);
  const { rows } = await connection.query({
    text: `SELECT current_setting('server_version_num')::int AS server, current_setting('server_version') AS version,
                  to_regnamespace($1) IS NOT NULL AS made, to_regclass($1 || '.schema_steps') IS NOT NULL AS there`,
    values: [name],
  });
  const found = rows[0] as Readonly<Record<string, unknown>>;
  if (Number(found['server']) < SERVER_VERSION_MIN) {
    const message = `the server is PostgreSQL ${String(found['version'])}, and 15 is the oldest that will do`;
    throw carillonError('CARILLON_DATABASE_VERSION', message, { found: Number(found['server']) });
  }
  const taken = found['there'] === true ? await stepsTaken(connection, name) : 0;
  if (taken > steps.length) {
    const message = `the schema ${schema} has version ${taken}, and this Carillon knows ${steps.length}`;
    throw carillonError('CARILLON_STORAGE_VERSION', message, { found: taken, known: steps.length });
  }
  // Not made where it is: who may make none may still have been given one.
  if (found['made'] !== true) await make(connection, schema, name);
  for (const [at, files] of steps.entries()) if (at >= taken) await take(connection, name, at + 1, files);
  await connection.query({ ...lock, text: lock.text.replace('lock', 'unlock') });
}

async function make(connection: Connection, schema: string, name: string): Promise<void> {
  try {
    await connection.query(`CREATE SCHEMA IF NOT EXISTS ${name}`);
  } catch (error) {
    if (!isCarillonError(error, 'CARILLON_DATABASE_RIGHTS')) throw error;
    const message = `the schema ${schema} cannot be made: ${toError(error.cause).message}`;
    throw carillonError('CARILLON_DATABASE_RIGHTS', message, error.details, error.cause);
  }
}

async function stepsTaken(connection: Connection, name: string): Promise<number> {
  const { rows } = await connection.query(`SELECT max(step) AS taken FROM ${name}.schema_steps`);
  return Number(rows[0]?.['taken'] ?? 0);
}

async function take(connection: Connection, name: string, step: number, files: readonly URL[]): Promise<void> {
  const sql = (await Promise.all(files.map((file) => readFile(file, 'utf8')))).join('\n');
  const table = 'CREATE TABLE schema_steps (step int PRIMARY KEY, taken timestamptz NOT NULL DEFAULT now());';
  // One round trip and one transaction.
  const first = `SET LOCAL search_path = ${name}, pg_temp; ${step === 1 ? table : ''}`;
  await connection.query(`BEGIN; ${first} ${sql}; INSERT INTO schema_steps (step) VALUES (${step}); COMMIT`);
}
