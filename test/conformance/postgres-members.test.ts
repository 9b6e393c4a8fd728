import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createBus, defineEvent, silentLogger, type Bus } from '../../src/index.ts';
import { postgres } from '../../src/engines/postgres/index.ts';
import { freshDatabase, type FreshDatabase } from '../postgres/fresh-database.ts';

const happened = defineEvent('test.happened');
/** For a condition on the database or the bus. */
const PATIENCE = { timeout: 20_000, interval: 20 };

describe('a process that the others took for dead', () => {
  let database: FreshDatabase;
  let client: pg.Client;
  let bus: Bus;

  beforeEach(async () => {
    database = await freshDatabase();
    client = new pg.Client(database.url);
    await client.connect();
  });

  afterEach(async () => {
    await bus.stop();
    await client.end();
    await database.drop();
  });

  it('starts over once, and handles and commits again', async () => {
    const warnings: string[] = [];
    const log = { ...silentLogger, warn: (message: string) => void warnings.push(message), child: () => log };
    bus = await createBus({ engine: postgres({ url: database.url, lookMs: 20 }), log });
    const handled: string[] = [];
    await bus.subscribe(happened, ({ id }) => void handled.push(id), { name: 'mine', from: 'beginning' });
    const first = await bus.publish(happened(undefined));
    await vi.waitUntil(() => handled.includes(first.id), PATIENCE);

    const { rows } = await client.query<{ no: number }>('SELECT no FROM carillon.members');
    await client.query('SELECT carillon.bury_member($1)', [rows[0]?.no]);
    // The next commit of a lease is refused, and then there is another member.
    const second = await bus.publish(happened(undefined));
    await vi.waitUntil(() => handled.includes(second.id), PATIENCE);
    const third = await bus.publish(happened(undefined));
    await vi.waitUntil(() => handled.includes(third.id), PATIENCE);
    await bus.drain();

    expect(warnings.filter((message) => message.includes('taken for dead'))).toHaveLength(1);
    const members = await client.query<{ no: number }>('SELECT no FROM carillon.members');
    expect(members.rows).toHaveLength(1);
    expect(members.rows[0]?.no).not.toBe(rows[0]?.no);
  });
});
