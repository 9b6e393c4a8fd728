import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { serverUrl } from '../postgres/fresh-database.ts';

const script = fileURLToPath(new URL('../../scripts/example-database.mjs', import.meta.url));

/** `npm run example:database`, with these variables in place of those of the test run. */
async function runExample(variables: Record<string, string>) {
  const { CARILLON_POSTGRES_URL: _ours, DATABASE_URL: _given, ...environment } = process.env;
  const child = spawn(process.execPath, [script], { env: { ...environment, ...variables } });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, 'exit')) as [number | null];
  return { code, output };
}

/** Databases and roles of the server that bear the mark of a run. */
async function marked(tag: string): Promise<unknown[]> {
  const client = new pg.Client(serverUrl());
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>(
      `SELECT name FROM (SELECT datname AS name FROM pg_database UNION ALL SELECT rolname FROM pg_roles) AS all_names
        WHERE position($1 IN name) > 0`,
      [tag],
    );
    return rows;
  } finally {
    await client.end();
  }
}

describe('npm run example:database', () => {
  it('starts a server of its own when none is given', async () => {
    const { code, output } = await runExample({});
    expect(output).toMatch(/all \d+ checks held/);
    expect(output).not.toContain('FAIL');
    expect(output).toContain('started for this run');
    expect(code).toBe(0);
  });

  it('uses the server given, and leaves nothing behind there', async () => {
    const { code, output } = await runExample({ DATABASE_URL: serverUrl() });
    expect(output).toContain('on the server given');
    expect(output).toMatch(/all \d+ checks held/);
    expect(code).toBe(0);
    const tag = /carillon_manager_(\w+)/.exec(output)?.[1] ?? '';
    expect(tag).not.toBe('');
    expect(await marked(tag)).toEqual([]);
    expect(output).not.toContain(decodeURIComponent(new URL(serverUrl()).password));
  });

  it('ends with 1 and says why when the server is not there', async () => {
    const { code, output } = await runExample({
      CARILLON_POSTGRES_URL: 'postgres://nobody:secret@127.0.0.1:1/postgres',
    });
    expect(code).toBe(1);
    expect(output).toContain('ECONNREFUSED');
    expect(output).not.toContain('secret');
  });
});
