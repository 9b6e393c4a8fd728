import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createBus } from '../../bus/index.ts';
import { defineEvent, defineModule, type Bus, type Event, type Module } from '../../core/index.ts';
import { memory } from '../../engines/memory/index.ts';
import { freshDatabase, type FreshDatabase } from '../../../test/postgres/fresh-database.ts';
import { outbox } from './outbox.ts';
import { outboxRelay, type OutboxRelaySettings } from './relay.ts';

const Happened = defineEvent('happened');
const happened = (name: string): Event => Happened({ name }, { id: name });
const { publish, wake } = outbox();

let database: FreshDatabase;
let client: pg.Client;
const buses: Bus[] = [];

beforeEach(async () => {
  database = await freshDatabase();
  client = new pg.Client(database.url);
  await client.connect();
}, 30_000);

afterEach(async () => {
  for (const bus of buses.splice(0)) await bus.stop();
  await client.end();
  await database.drop();
}, 30_000);

async function start(settings: OutboxRelaySettings = {}, modules: readonly Module[] = []): Promise<Bus> {
  const relay = outboxRelay({ url: database.url, lookMs: 10, standbyMs: 20, ...settings });
  const bus = await createBus({ engine: memory(), modules: [...modules, relay] });
  buses.push(bus);
  return bus;
}

const stateOf = async (bus: Bus): Promise<unknown> => (await bus.health()).modules['outbox-relay'];

async function idsOf(bus: Bus): Promise<string[]> {
  const ids: string[] = [];
  for await (const { event } of bus.read()) ids.push(event.id);
  return ids;
}

async function rowsOf(table: string): Promise<Record<string, unknown>[]> {
  return (await client.query<Record<string, unknown>>(`SELECT * FROM carillon_outbox.${table} ORDER BY 1`)).rows;
}

/** Waits until nothing is left to relay. */
async function relayed(): Promise<void> {
  await expect.poll(async () => (await rowsOf('incoming')).length, { timeout: 10_000, interval: 10 }).toBe(0);
}

/** One application's transaction. */
async function within(end: 'COMMIT' | 'ROLLBACK', ...names: readonly string[]): Promise<void> {
  await client.query('BEGIN');
  await publish(client, names.map(happened));
  await client.query(end);
}

describe('outboxRelay', { timeout: 30_000 }, () => {
  it('publishes what was committed, in its order, with its ids, and nothing else', async () => {
    const bus = await start();
    await within('COMMIT', 'a', 'b');
    await within('ROLLBACK', 'never');
    await within('COMMIT', 'c');
    await relayed();
    expect(await idsOf(bus)).toEqual(['a', 'b', 'c']);
    expect(await stateOf(bus)).toEqual({ healthy: true });
  });

  it('takes what commits late, after what was committed before it', async () => {
    const bus = await start();
    const late = new pg.Client(database.url);
    await late.connect();
    await late.query('BEGIN');
    await publish(late, happened('late'));
    await within('COMMIT', 'early');
    await expect.poll(() => idsOf(bus)).toEqual(['early']);
    await within('ROLLBACK', 'never');
    await late.query('COMMIT');
    await late.end();
    await expect.poll(() => idsOf(bus)).toEqual(['early', 'late']);
    await relayed();
    // A number that was rolled back is not waited for without end.
    await expect.poll(async () => (await rowsOf('sequenced'))[0]?.['gaps']).toEqual([]);
  });

  it('takes what other languages write with SQL', async () => {
    const bus = await start();
    const event = {
      specversion: '1.0',
      id: 'sql',
      source: '/sql',
      type: 'happened',
      data: { nul: '\0', half: '\ud800' },
    };
    await client.query('SELECT carillon_outbox.publish($1)', [JSON.stringify(event)]);
    await client.query('INSERT INTO carillon_outbox.incoming (event) VALUES ($1)', [
      JSON.stringify({ ...event, id: '2' }),
    ]);
    await relayed();
    expect(await idsOf(bus)).toEqual(['sql', '2']);
    expect((await bus.readPage()).events[0]?.event).toMatchObject(event);
  });

  it('is woken by a NOTIFY', async () => {
    // It has looked when it has what was there before it came.
    await (await start()).stop();
    await within('COMMIT', 'before');
    const bus = await start({ lookMs: 60_000 });
    await relayed();
    await within('COMMIT', 'a');
    await wake(client);
    await expect.poll(() => idsOf(bus), { timeout: 10_000 }).toEqual(['before', 'a']);
  });

  it('takes more than fits one batch, by count and by size', async () => {
    const bus = await start({ batchEvents: 3, batchBytes: 400 });
    const names = Array.from({ length: 20 }, (_, at) => `event-${at}`);
    await within('COMMIT', ...names);
    await relayed();
    expect(await idsOf(bus)).toEqual(names);
  });

  it('sets aside what the bus refuses, and goes on', async () => {
    const guard = defineModule('guard', (m) => {
      m.handleSync(Happened, ({ id }) => {
        if (id === 'refused') throw new Error('not this one');
      });
    });
    const bus = await start({}, [guard]);
    await client.query('BEGIN');
    await publish(client, happened('a'));
    await client.query("SELECT carillon_outbox.publish('{}')");
    await client.query("INSERT INTO carillon_outbox.incoming (event) VALUES ('no JSON')");
    await publish(client, [happened('refused'), happened('b')]);
    await client.query('COMMIT');
    await relayed();
    expect(await idsOf(bus)).toEqual(['a', 'b']);
    const refused = await rowsOf('refused');
    expect(refused.map(({ code }) => code)).toEqual([
      'CARILLON_ATTRIBUTE_MISSING',
      'CARILLON_ENVELOPE_INVALID',
      'CARILLON_REFUSED',
    ]);
    const mended = JSON.stringify({ specversion: '1.0', id: 'mended', source: '/sql', type: 'happened' });
    await client.query('SELECT carillon_outbox.publish_refused($1, $2)', [refused[0]?.['no'], mended]);
    await expect.poll(() => idsOf(bus)).toEqual(['a', 'b', 'mended']);
    expect(await rowsOf('refused')).toHaveLength(2);
  });

  it('waits for a bus that cannot take it now, and loses nothing', async () => {
    let busy = true;
    const guard = defineModule('guard', (m) => {
      m.handleSync(Happened, async () => {
        if (busy) await new Promise(() => undefined);
      });
    });
    const relay = outboxRelay({ url: database.url, lookMs: 10 });
    const bus = await createBus({ engine: memory(), modules: [guard, relay], limits: { syncBudgetMs: 20 } });
    buses.push(bus);
    await within('COMMIT', 'a', 'b');
    await expect.poll(() => stateOf(bus)).toMatchObject({ healthy: false });
    expect(await rowsOf('incoming')).toHaveLength(2);
    busy = false;
    await relayed();
    expect(await idsOf(bus)).toEqual(['a', 'b']);
    expect(await rowsOf('refused')).toEqual([]);
    await expect.poll(() => stateOf(bus)).toEqual({ healthy: true });
  });

  it('one relays, another stands by and takes over', async () => {
    const first = await start();
    await within('COMMIT', 'a');
    await relayed();
    const second = await start();
    const names = Array.from({ length: 20 }, (_, at) => `event-${at}`);
    for (const name of names) await within('COMMIT', name);
    await relayed();
    expect(await idsOf(first)).toEqual(['a', ...names]);
    expect(await idsOf(second)).toEqual([]);
    await first.stop();
    await within('COMMIT', 'b');
    await relayed();
    expect(await idsOf(second)).toEqual(['b']);
  });

  it('comes back when its connection was cut, and publishes nothing twice', async () => {
    const bus = await start();
    const names: string[] = [];
    for (let at = 0; at < 10; at++) {
      names.push(`event-${at}`);
      await within('COMMIT', `event-${at}`);
      await client.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%_incoming%'",
      );
    }
    await relayed();
    expect(await idsOf(bus)).toEqual(names);
  });

  it('knows again what the bus had when its answer to the outbox was lost', async () => {
    const bus = await start();
    await bus.publish(happened('a'));
    await within('COMMIT', 'a', 'b');
    await relayed();
    expect(await idsOf(bus)).toEqual(['a', 'b']);
  });

  it('says at the start what is wrong', async () => {
    const unknown = new URL(database.url);
    unknown.pathname = '/none_at_all';
    await expect(createBus({ engine: memory(), modules: [outboxRelay(unknown.href)] })).rejects.toMatchObject({
      code: 'CARILLON_DATABASE_UNKNOWN',
    });
    const nobody = outboxRelay({ host: '127.0.0.1', port: 1, database: 'x' });
    await expect(createBus({ engine: memory(), modules: [nobody] })).rejects.toMatchObject({
      code: 'CARILLON_DATABASE_UNREACHABLE',
    });
  });

  it.each([{ lookMs: 0 }, { standbyMs: 1.5 }, { batchEvents: 0 }, { batchBytes: -1 }, { schema: '' }])(
    'refuses %j',
    (settings) => {
      expect(() => outboxRelay({ url: 'postgres://x/y', ...settings })).toThrow(
        expect.objectContaining({ code: 'CARILLON_OPTION_INVALID' }) as Error,
      );
    },
  );
});
