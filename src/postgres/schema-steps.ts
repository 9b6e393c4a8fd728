import { readFile } from 'node:fs/promises';
import { carillonError } from '../core/index.ts';
import type { Connection } from './connection.ts';
import { quoteIdentifier } from './identifiers.ts';

/** How rows of a table `incoming` are taken in order: belongs to the first step of a schema that has one. */
export const sequencingFile: URL = new URL('sql/sequencing.sql', import.meta.url);

/**
 * Brings a schema to this version's: `steps` are the files of each step from one version to the next. A step is never
 * changed once released: another is added. The table `schema_steps` says which have been taken. Processes that start at
 * once take turns by an advisory lock, and each step is a transaction with its entry in that table.
 *
 * Fails with `CARILLON_STORAGE_VERSION` when it is newer, and with `CARILLON_DATABASE_RIGHTS` when this user may not make it.
 */
export async function takeSteps(
  connection: Connection,
  schema: string,
  steps: readonly (readonly URL[])[],
): Promise<void> {
  const name = quoteIdentifier(schema, 'schema');
  const lock = { text: 'SELECT pg_advisory_lock(hashtextextended($1, 0))', values: [`carillon migrates ${schema}`] };
  await connection.query(lock);
  try {
    const { rows } = await connection.query({
      text: "SELECT to_regclass($1 || '.schema_steps') IS NOT NULL AS there",
      values: [name],
    });
    const taken = rows[0]?.['there'] === true ? await stepsTaken(connection, name) : 0;
    if (taken > steps.length) {
      const message = `the schema ${schema} has version ${taken}, and this Carillon knows ${steps.length}`;
      throw carillonError('CARILLON_STORAGE_VERSION', message, { found: taken, known: steps.length });
    }
    for (const [at, files] of steps.entries()) if (at >= taken) await take(connection, name, at + 1, files);
  } finally {
    await connection.query({ ...lock, text: lock.text.replace('lock', 'unlock') });
  }
}

async function stepsTaken(connection: Connection, name: string): Promise<number> {
  const { rows } = await connection.query(`SELECT max(step) AS taken FROM ${name}.schema_steps`);
  return Number(rows[0]?.['taken'] ?? 0);
}

async function take(connection: Connection, name: string, step: number, files: readonly URL[]): Promise<void> {
  const sql = (await Promise.all(files.map((file) => readFile(file, 'utf8')))).join('\n');
  // One round trip and one transaction: the schema itself is made only by who may.
  const first =
    step === 1
      ? `CREATE SCHEMA IF NOT EXISTS ${name}; SET LOCAL search_path = ${name}, pg_temp;
         CREATE TABLE schema_steps (step int PRIMARY KEY, taken timestamptz NOT NULL DEFAULT now());`
      : `SET LOCAL search_path = ${name}, pg_temp;`;
  await connection.query(`BEGIN; ${first} ${sql}; INSERT INTO schema_steps (step) VALUES (${step}); COMMIT`);
}
