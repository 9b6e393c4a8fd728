import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createBus, type BusOptions } from '../../src/bus/index.ts';
import { defineModule, makeEvent, noRetry, type Bus, type Event, type Handler } from '../../src/core/index.ts';
import { postgres } from '../../src/engines/postgres/index.ts';
import { freshDatabase, type FreshDatabase } from './fresh-database.ts';
import { until } from './waiting.ts';

const happened = (id: string): Event =>
  makeEvent({ specversion: '1.0', id, source: '/test', type: 'thing.happened', subject: id }, { id });

describe('transactions of handlers', () => {
  let database: FreshDatabase;
  let client: pg.Client;
  let bus: Bus | undefined;

  beforeEach(async () => {
    database = await freshDatabase();
    client = new pg.Client(database.url);
    await client.connect();
    await client.query('CREATE TABLE effects (id text NOT NULL)');
  });
  afterEach(async () => {
    await client.end();
    await bus?.stop();
    await database.drop();
  });

  async function start(handler: Handler, options: Partial<BusOptions> = {}, transactionsMax: number = 8): Promise<Bus> {
    const module = defineModule('m', (m) =>
      m.handle('thing.happened', handler, { name: 'h', transaction: true, retry: noRetry(), concurrency: 16 }),
    );
    const engine = postgres({ url: database.url, lookMs: 20, transactionsMax });
    bus = await createBus({ engine, modules: [module], ...options });
    return bus;
  }

  async function deadWith(count: number): Promise<(string | undefined)[]> {
    let codes: (string | undefined)[] = [];
    await until(async () => {
      const letters = (await bus?.deadLetters.list()) ?? [];
      codes = letters.map(({ attempts }) => attempts.at(-1)?.error.code);
      return letters.length === count;
    }, `${count} dead letters`);
    return codes;
  }

  const effects = async (): Promise<number> =>
    (await client.query('SELECT count(*)::int AS n FROM effects')).rows[0].n as number;

  const write: Handler = async ({ id }, { tx }) => void (await tx.run('INSERT INTO effects VALUES ($1)', [id]));

  it('one whose statement takes too long ends, and leaves nothing', async () => {
    const slow: Handler = async (event, context) => {
      await write(event, context);
      await context.tx.all('SELECT pg_sleep(60)');
    };
    const running = await start(slow, { limits: { transactionMs: 200 } });
    await running.publish(happened('a'));
    expect(await deadWith(1)).toEqual(['CARILLON_TRANSACTION_TIMEOUT']);
    expect(await effects()).toBe(0);
    // Its statement does not run on, with its locks.
    const sleeping = `SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active'
      AND datname = current_database() AND pid <> pg_backend_pid()`;
    await until(async () => (await client.query(sleeping)).rows.length === 0, 'the server to end the statement');
  });

  it('one whose acknowledgement waits too long ends, and is told so', async () => {
    let begun = false;
    let goOn: () => void = () => undefined;
    const mayGoOn = new Promise<void>((resolve) => (goOn = resolve));
    const running = await start(
      async (event, context) => {
        await write(event, context);
        begun = true;
        await mayGoOn;
        context.publish(makeEvent({ specversion: '1.0', id: 'f', source: '/test', type: 'thing.followed' }, {}));
      },
      { limits: { transactionMs: 500 } },
    );
    await running.publish(happened('a'));
    await until(() => begun, 'the handler to begin');
    // Its transaction has to append, so whoever holds the lock of the log is in its way.
    await client.query('BEGIN');
    await client.query('SELECT carillon.lock_log()');
    goOn();
    expect(await deadWith(1)).toEqual(['CARILLON_TRANSACTION_TIMEOUT']);
    await client.query('ROLLBACK');
    expect(await effects()).toBe(0);
  });

  it('there are no more at once than the option says, and all get their turn', async () => {
    let open = 0;
    let most = 0;
    const counted: Handler = async (event, context) => {
      await write(event, context);
      most = Math.max(most, ++open);
      await context.tx.all('SELECT pg_sleep(0.01)');
      open--;
    };
    const running = await start(counted, {}, 2);
    await running.publish(Array.from({ length: 20 }, (_, n) => happened(`e${n}`)));
    await until(async () => (await effects()) === 20, 'all');
    await running.drain();
    expect(most).toBe(2);
  });

  it('a handler cannot end its transaction, whatever it writes before the word', async () => {
    const ends: Handler = async (event, context) => {
      await write(event, context);
      await context.tx.run('; /* a /* b */ c */ COMMIT');
    };
    const running = await start(ends);
    await running.publish(happened('a'));
    expect(await deadWith(1)).toEqual(['CARILLON_TRANSACTION_FAILED']);
    expect(await effects()).toBe(0);
  });

  it('a statement that failed fails the attempt, though the handler makes nothing of it', async () => {
    const careless: Handler = async (event, context) => {
      await write(event, context);
      await context.tx.run('SELECT 1 / 0').catch(() => undefined);
    };
    const running = await start(careless);
    await running.publish(happened('a'));
    expect(await deadWith(1)).toEqual(['CARILLON_TRANSACTION_FAILED']);
    expect(await effects()).toBe(0);
  });
});
