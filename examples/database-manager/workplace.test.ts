import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, type FreshDatabase } from '../../test/postgres/fresh-database.ts';
import { databaseConfigOf, type DatabaseConfig } from './database-config.ts';
import { openWorkplace } from './workplace.ts';

let database: FreshDatabase;
let config: DatabaseConfig;
const never = new AbortController().signal;

beforeAll(async () => {
  database = await freshDatabase();
  config = databaseConfigOf(database.url, 'test');
});

afterAll(() => database.drop());

describe('openWorkplace', () => {
  it('throws out an earlier attempt, and waits for the end of the statement it had under way', async () => {
    const first = await openWorkplace(config, 'job', never);
    const sleeping = first.client.query('SELECT pg_sleep(3600)').then(String, (error: Error) => error.message);
    const second = await openWorkplace(config, 'job', never);
    const { rows } = await second.client.query(
      "SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()",
    );
    expect(rows).toEqual([]);
    expect(await sleeping).toContain('terminating connection');
    await expect(first.client.query('SELECT 1')).rejects.toThrow('not queryable');
    await second.close();
  });

  it('leaves other jobs alone', async () => {
    const first = await openWorkplace(config, 'one', never);
    const second = await openWorkplace(config, 'another', never);
    expect((await first.client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await Promise.all([first.close(), second.close()]);
  });

  it('is closed when the attempt’s time is up, whatever it is at', async () => {
    const attempt = new AbortController();
    const { client } = await openWorkplace(config, 'job', attempt.signal);
    const sleeping = client.query('SELECT pg_sleep(3600)');
    attempt.abort(new Error('the time is up'));
    await expect(sleeping).rejects.toThrow('Connection terminated');
    await expect(client.query('SELECT 1')).rejects.toThrow('not queryable');
  });
});
