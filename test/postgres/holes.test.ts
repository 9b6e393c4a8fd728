import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createBus } from '../../src/bus/index.ts';
import { defineModule, makeEvent, type Bus, type Event } from '../../src/core/index.ts';
import { postgres } from '../../src/engines/postgres/index.ts';
import { freshDatabase, type FreshDatabase } from './fresh-database.ts';
import { until } from './waiting.ts';

const happened = (id: string): Event =>
  makeEvent({ specversion: '1.0', id, source: '/test', type: 'thing.happened' }, { id });

/** A transaction that has appended and is rolled back, by the death of its process say, leaves positions without events. */
describe('positions without an event', () => {
  let database: FreshDatabase;
  let bus: Bus;
  let appender: pg.Client;
  let seen: string[];

  beforeEach(async () => {
    database = await freshDatabase();
    seen = [];
    const module = defineModule('m', (m) => m.handle('thing.happened', ({ id }) => void seen.push(id), { name: 'h' }));
    bus = await createBus({ engine: postgres({ url: database.url, lookMs: 10 }), modules: [module] });
    appender = new pg.Client(database.url);
    await appender.connect();
  });
  afterEach(async () => {
    await bus.stop();
    await appender.end();
    await database.drop();
  });

  /** As `append` in sql/0002.sql leaves it when its transaction is rolled back. */
  async function appendInVain(): Promise<void> {
    await appender.query('SET search_path = carillon; BEGIN; SELECT lock_log()');
    await appender.query(`SELECT setval('positions', make_room(5) + 5)`);
    await appender.query('ROLLBACK');
  }

  it('a subscription that keeps up passes them over', async () => {
    await bus.publish(happened('a'));
    await until(() => seen.length === 1, 'the first event');
    await appendInVain();
    const { position } = await bus.publish(happened('b'));
    expect(position).toBe(7);
    await until(() => seen.length === 2, 'the event behind them');
    await appendInVain();
    const outbox = new pg.Client(database.url);
    await outbox.connect();
    await bus.publish(happened('c'), { tx: outbox });
    await outbox.end();
    await until(() => seen.length === 3, 'the event of a transaction behind them');
    await bus.drain();
    expect(seen).toEqual(['a', 'b', 'c']);
  });
});
