import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createBus, defineEvent, defineModule, silentLogger, type Bus, type Module } from '../../src/index.ts';
import { postgres } from '../../src/engines/postgres/index.ts';
import { freshDatabase, serverUrl, type FreshDatabase } from './fresh-database.ts';
import { startProxy } from './proxy.ts';
import { until } from './waiting.ts';

const happened = defineEvent('test.happened');
const asked = defineEvent('test.asked');

/** What a database refuses for a while: after it, the bus goes on, with nothing lost and nobody asked to start it again. */
describe('a database that refuses for a while', () => {
  let database: FreshDatabase;
  let admin: pg.Client;
  let bus: Bus;
  const told: string[] = [];
  const handled: string[] = [];

  beforeEach(async () => {
    database = await freshDatabase();
    // Of another database, so that what is set for this one does not concern it.
    admin = new pg.Client(serverUrl());
    await admin.connect();
    told.length = 0;
    handled.length = 0;
  });
  afterEach(async () => {
    await bus.stop().catch(() => undefined);
    await admin.end();
    await database.drop();
  });

  async function start(modules: readonly Module[], url: string = database.url): Promise<void> {
    const note = (message: string, fields: unknown): void => void told.push(`${message} ${JSON.stringify(fields)}`);
    const log = { ...silentLogger, error: note, info: note, child: () => log };
    const engine = postgres({ url, lookMs: 20, leaseMs: 600, unreachableMs: 200 });
    bus = await createBus({ engine, log, modules });
  }

  const listening = defineModule('m', (m) => {
    m.handle(happened, ({ id }) => void handled.push(id), { name: 'h', from: 'beginning' });
    m.handle(
      asked,
      async ({ id }, context) => {
        await context.tx.run('INSERT INTO public.done VALUES ($1)', [id]);
      },
      { name: 't', transaction: true, from: 'beginning' },
    );
  });
  const reconnect = (): Promise<unknown> =>
    admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [database.name]);
  const untilTold = (what: string): Promise<void> =>
    until(
      () => told.some((text) => text.includes(what)),
      () => `to be told of ${what}; told: ${told.join('; ')}`,
    );

  it('only reads: publishing fails until it writes again, as after a failover', async () => {
    await database.query('CREATE TABLE public.done (id text PRIMARY KEY)');
    await start([listening]);
    const first = await bus.publish(happened(undefined));
    await until(() => handled.includes(first.id), 'the first event to be handled');

    await admin.query(`ALTER DATABASE ${database.name} SET default_transaction_read_only = on`);
    await reconnect();
    const refused = happened(undefined);
    await expect(bus.publish(refused)).rejects.toMatchObject({ code: 'CARILLON_DATABASE_READ_ONLY', retryable: true });
    await untilTold('read-only');
    expect(await bus.health()).toMatchObject({ status: 'degraded' });

    // Sessions that were opened meanwhile go on reading only, and must not be kept.
    await admin.query(`ALTER DATABASE ${database.name} RESET default_transaction_read_only`);
    await untilTold('can be used again');
    await bus.publish(refused);
    const last = await bus.publish(asked(undefined));
    await bus.drain();
    expect(handled).toEqual([first.id, refused.id]);
    const client = new pg.Client(database.url);
    await client.connect();
    expect((await client.query('SELECT id FROM done')).rows).toEqual([{ id: last.id }]);
    await client.end();
    expect(await bus.health()).toMatchObject({ status: 'ready', reasons: [] });
  });

  it('has no room for a lease to be renewed: the process stays what it is', async () => {
    await start([listening]);
    await database.query(`
      CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
      CREATE TRIGGER refuse BEFORE UPDATE ON carillon.members FOR EACH STATEMENT EXECUTE FUNCTION public.refuse()`);
    await untilTold('could not extend file');
    await database.query('DROP TRIGGER refuse ON carillon.members');
    await untilTold('can be used again');
    const { id } = await bus.publish(happened(undefined));
    await bus.drain();
    expect(handled).toEqual([id]);
  });

  it('lets nobody in: the bus stops all the same, and says what it could not write', async () => {
    await start([listening]);
    const first = await bus.publish(happened(undefined));
    await until(() => handled.includes(first.id), 'the first event to be handled');
    await admin.query(`ALTER DATABASE ${database.name} ALLOW_CONNECTIONS false`);
    await reconnect();
    await expect(bus.publish(happened(undefined))).rejects.toMatchObject({ code: 'CARILLON_DATABASE_UNREACHABLE' });
    await expect(bus.stop()).rejects.toMatchObject({ code: 'CARILLON_DATABASE_UNREACHABLE' });
    await admin.query(`ALTER DATABASE ${database.name} ALLOW_CONNECTIONS true`);
    await start([listening]);
    await bus.drain();
    expect(new Set(handled)).toEqual(new Set([first.id]));
  });

  it('is cut off by a network that swallows everything: other connections are made, and nothing is done twice', async () => {
    const proxy = await startProxy(database.url);
    await start([listening], proxy.url);
    const first = await bus.publish(happened(undefined, { subject: 'one' }));
    await until(() => handled.includes(first.id), 'the first event to be handled');
    proxy.silence();
    const ids = await Promise.all(
      Array.from({ length: 20 }, () => bus.publish(happened(undefined, { subject: 'one' }))),
    );
    await bus.drain();
    // The member's own connection too: without it nobody would hear of this one's end.
    await untilTold('can be used again');
    expect(handled).toEqual([first, ...ids].map(({ id }) => id));
    await bus.stop();
    await proxy.close();
  });
});
