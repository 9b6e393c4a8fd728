import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createBus } from '../../src/bus/index.ts';
import { defineModule, makeEvent, type Bus, type Event, type Module } from '../../src/core/index.ts';
import { postgres } from '../../src/engines/postgres/index.ts';
import { memory } from '../../src/engines/memory/index.ts';
import { outbox, outboxRelay } from '../../src/sources/outbox/index.ts';
import { freshDatabase, type FreshDatabase } from './fresh-database.ts';
import { until } from './waiting.ts';

const happened = (id: string, subject?: string): Event =>
  makeEvent(
    { specversion: '1.0', id, source: '/test', type: 'thing.happened', ...(subject === undefined ? {} : { subject }) },
    { id },
  );

/** What a database or its user may have set for every session: the engine's own sessions must not care. */
describe('whatever is set for every session of the database', () => {
  let database: FreshDatabase;
  const buses: Bus[] = [];

  beforeEach(async () => {
    database = await freshDatabase();
  });
  afterEach(async () => {
    await Promise.all(buses.splice(0).map((bus) => bus.stop()));
    await database.drop();
  });

  async function start(modules: readonly Module[] = []): Promise<Bus> {
    const bus = await createBus({ engine: postgres({ url: database.url, lookMs: 10 }), modules });
    buses.push(bus);
    return bus;
  }

  const settings = [
    `default_transaction_isolation = 'repeatable read'`,
    `default_transaction_isolation = 'serializable'`,
    `search_path = pg_catalog`,
    `bytea_output = 'escape'`,
    `DateStyle = 'German'`,
    `IntervalStyle = 'sql_standard'`,
    `standard_conforming_strings = off`,
    `statement_timeout = '1s'`,
    `plan_cache_mode = 'force_generic_plan'`,
  ];
  it.each(settings)('%s: events are stored once and come in order, in two processes at once', async (setting) => {
    await database.query(`ALTER DATABASE ${database.name} SET ${setting}`);
    const seen: string[] = [];
    const module = defineModule('m', (m) =>
      m.handle('thing.happened', ({ id }) => void seen.push(id), { name: 'h', from: 'beginning' }),
    );
    const [one, other] = await Promise.all([start([module]), start([module])]);
    const ids = Array.from({ length: 60 }, (_, n) => `e${n}`);
    // The same events, by both, one after the other: each finds those of the other.
    const publishAll = async (bus: Bus): Promise<void> => {
      for (const id of ids) await bus.publish(happened(id, 'one key'));
    };
    await Promise.all([publishAll(one), publishAll(other)]);
    const client = new pg.Client(database.url);
    await client.connect();
    await client.query('BEGIN');
    await one.publish(happened('within', 'one key'), { tx: client });
    await client.query('COMMIT');
    await client.end();
    await other.publish(
      makeEvent({ specversion: '1.0', id: 'bytes', source: '/test', type: 'bytes' }, new Uint8Array([0, 92, 255])),
    );
    await until(() => seen.length >= ids.length + 1, 'every event to be handled');
    expect(seen).toEqual([...ids, 'within']);
    const events: Event[] = [];
    for await (const { event } of one.read()) events.push(event);
    expect(events.map(({ id }) => id)).toEqual([...ids, 'within', 'bytes']);
    expect(events.at(-1)?.data).toEqual(new Uint8Array([0, 92, 255]));
  });

  it.each(settings)('%s: an outbox is relayed, in order', async (setting) => {
    await database.query(`ALTER DATABASE ${database.name} SET ${setting}`);
    const bus = await createBus({ engine: memory(), modules: [outboxRelay({ url: database.url, lookMs: 10 })] });
    buses.push(bus);
    const client = new pg.Client(database.url);
    await client.connect();
    const ids = Array.from({ length: 40 }, (_, n) => `e${n}`);
    for (const id of ids) {
      await client.query('BEGIN');
      await outbox().publish(client, happened(id, 'one key'));
      await client.query('COMMIT');
    }
    await client.end();
    const relayed: string[] = [];
    await until(async () => {
      relayed.length = 0;
      for await (const { event } of bus.read()) relayed.push(event.id);
      return relayed.length >= ids.length;
    }, 'the outbox to be relayed');
    expect(relayed).toEqual(ids);
  });
});
