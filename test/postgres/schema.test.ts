import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createBus } from '../../src/bus/index.ts';
import { makeEvent, resolveLimits, silentLogger, systemClock, type Bus, type Event } from '../../src/core/index.ts';
import { postgres } from '../../src/engines/postgres/index.ts';
import type { StoreHost } from '../../src/engine/log/index.ts';
import { resolveOptions } from '../../src/engines/postgres/options.ts';
import { migrate } from '../../src/engines/postgres/schema.ts';
import { PostgresStore } from '../../src/engines/postgres/store.ts';
import { connectorOf, type Connection } from '../../src/postgres/index.ts';
import { freshDatabase, type FreshDatabase } from './fresh-database.ts';
import { startProgram } from './program.ts';
import { until } from './waiting.ts';

const happened = (id: string): Event =>
  makeEvent({ specversion: '1.0', id, source: '/test', type: 'thing.happened' }, { id });

describe('the schema', () => {
  let database: FreshDatabase;
  let client: pg.Client;

  beforeEach(async () => {
    database = await freshDatabase();
    client = new pg.Client(database.url);
    await client.connect();
  });
  afterEach(async () => {
    await client.end();
    await database.drop();
  });

  const migrated = async (schema: string): Promise<void> => {
    const connection = await connectorOf(database.url).connect();
    try {
      await migrate(connection, schema);
    } finally {
      await connection.close();
    }
  };
  const steps = async (): Promise<number[]> => {
    const { rows } = await client.query<{ step: number }>('SELECT step FROM carillon.schema_steps ORDER BY step');
    return rows.map(({ step }) => step);
  };
  const everyStep = async (): Promise<number[]> => {
    const { rows } = await client.query<{ newest: number }>('SELECT max(step) AS newest FROM carillon.schema_steps');
    return Array.from({ length: rows[0]?.newest ?? 0 }, (_, index) => index + 1);
  };

  it('is made once by many connections and processes that start at once on an empty database', async () => {
    const task = { url: database.url, lookMs: 20, publishEveryMs: 5 };
    const processes = Array.from({ length: 4 }, () => startProgram('sequencer', task));
    await Promise.all(Array.from({ length: 8 }, () => migrated('carillon')));
    await Promise.all(processes.map((process) => process.untilTold('ready')));
    expect(await steps()).toEqual(await everyStep());
    await Promise.all(processes.map((process) => process.stop()));
  });

  it('of a newer version is refused, and left as it is', async () => {
    await migrated('carillon');
    const newer = (await everyStep()).length + 1;
    await client.query('INSERT INTO carillon.schema_steps VALUES ($1)', [newer]);
    await expect(createBus({ engine: postgres({ url: database.url }) })).rejects.toMatchObject({
      code: 'CARILLON_STORAGE_VERSION',
      message: `the schema carillon has version ${newer}, and this Carillon knows ${newer - 1}`,
      details: { found: newer, known: newer - 1 },
    });
    expect((await steps()).at(-1)).toBe(newer);
  });

  it('of which a step was cut short goes on with that step', async () => {
    await migrated('carillon');
    const all = await steps();
    await client.query('DROP SCHEMA carillon CASCADE');
    const cut = connectorOf(database.url);
    const connection = await cut.connect();
    let sent = 0;
    // Its process dies when it has sent the second step.
    const dying: Connection = {
      ...connection,
      broken: connection.broken,
      processId: connection.processId,
      onNotification: () => undefined,
      close: () => connection.close(),
      abort: () => connection.abort(),
      query: async (query) => {
        const text = typeof query === 'string' ? query : query.text;
        if (text.startsWith('BEGIN') && ++sent === 2) {
          connection.abort();
          throw new Error('the end of the process');
        }
        return connection.query(query);
      },
    };
    await expect(migrate(dying, 'carillon')).rejects.toThrow('the end of the process');
    expect(await steps()).toEqual([1]);
    await migrated('carillon');
    expect(await steps()).toEqual(all);
  });

  it('is not made on a server that is too old', async () => {
    // There is none here: what it would say is put into its mouth.
    const connection = await connectorOf(database.url).connect();
    const old: Connection = {
      ...connection,
      broken: connection.broken,
      processId: connection.processId,
      onNotification: () => undefined,
      close: () => connection.close(),
      abort: () => connection.abort(),
      query: (query) => {
        if (typeof query === 'string' || !query.text.includes('server_version_num')) return connection.query(query);
        return Promise.resolve({
          rows: [{ server: 140_011, version: '14.11', made: false, there: false }],
          rowCount: 1,
        });
      },
    };
    await expect(migrate(old, 'carillon')).rejects.toMatchObject({
      code: 'CARILLON_DATABASE_VERSION',
      message: 'the server is PostgreSQL 14.11, and 15 is the oldest that will do',
    });
    await connection.close();
    expect((await client.query(`SELECT to_regnamespace('carillon') AS made`)).rows[0].made).toBeNull();
  });

  it('stands beside others in one database: what is in one is not in another', async () => {
    const [one, other] = await Promise.all(
      ['one', 'other'].map((schema) => createBus({ engine: postgres({ url: database.url, schema, lookMs: 10 }) })),
    );
    const ids = async (bus: Bus): Promise<string[]> => {
      const found: string[] = [];
      for await (const { event } of bus.read()) found.push(event.id);
      return found;
    };
    await Promise.all([one?.publish(happened('a')), other?.publish(happened('b'))]);
    expect(await ids(one as Bus)).toEqual(['a']);
    expect(await ids(other as Bus)).toEqual(['b']);
    await Promise.all([one?.stop(), other?.stop()]);
  });

  it.each(['short', 'x'.repeat(63), 'ü'.repeat(31), `a "quoted" one`])(
    'named %s: processes hear of each other',
    async (schema) => {
      const host: StoreHost = {
        limits: resolveLimits({}),
        log: silentLogger,
        clock: systemClock,
        onFailure: () => undefined,
        onStorageFull: () => undefined,
        onUnreachable: () => undefined,
      };
      const member = async (): Promise<PostgresStore> => {
        const store = new PostgresStore(resolveOptions({ url: database.url, schema }));
        await store.open(host);
        await store.sharing.join();
        return store;
      };
      const [one, other] = [await member(), await member()];
      const heard: string[] = [];
      one.sharing.onWake((wake) => heard.push(wake));
      other.sharing.tell('changes');
      await until(() => heard.includes('changes'), 'what the other says');
      expect(heard).toContain('changes');
      await Promise.all([one.close(), other.close()]);
    },
  );
});
