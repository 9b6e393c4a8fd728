import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createBus } from '../../src/bus/index.ts';
import { defineModule, fixed, makeEvent, type Bus, type Event } from '../../src/core/index.ts';
import { postgres } from '../../src/engines/postgres/index.ts';
import { freshDatabase, type FreshDatabase } from './fresh-database.ts';
import { startProxy, type Proxy } from './proxy.ts';
import { until } from './waiting.ts';

const event = (id: string, type: string): Event =>
  makeEvent({ specversion: '1.0', id, source: '/test', type, subject: 'one key' }, { id });

/** In a message to the server: the call of the prepared statement that a process commits by, and COMMIT. */
const GROUP_COMMIT = '\0commit\0';
const COMMIT = 'COMMIT\0';

describe('a COMMIT whose fate the process is not told', () => {
  let database: FreshDatabase;
  let proxy: Proxy;
  let client: pg.Client;
  let bus: Bus;
  let attempts: string[];

  beforeEach(async () => {
    database = await freshDatabase();
    proxy = await startProxy(database.url);
    client = new pg.Client(database.url);
    await client.connect();
    await client.query('CREATE TABLE effects (id text NOT NULL)');
    attempts = [];
    const module = defineModule('m', (m) =>
      m.handle(
        'effect.wanted',
        async ({ id }, ctx) => {
          attempts.push(id);
          await ctx.tx.run('INSERT INTO effects VALUES ($1)', [id]);
          ctx.publish(event(`of ${id}`, 'effect.made'));
        },
        { name: 'h', transaction: true, retry: fixed({ attemptsMax: 10, delayMs: 10 }) },
      ),
    );
    bus = await createBus({ engine: postgres({ url: proxy.url, lookMs: 20 }), modules: [module] });
  });
  afterEach(async () => {
    await bus.stop();
    await client.end();
    await proxy.close();
    await database.drop();
  });

  async function effects(): Promise<string[]> {
    const { rows } = await client.query<{ id: string }>('SELECT id FROM effects');
    return rows.map(({ id }) => id);
  }

  async function log(): Promise<string[]> {
    const { rows } = await client.query<{ id: string }>('SELECT id FROM carillon.events ORDER BY position');
    return rows.map(({ id }) => id);
  }

  it.each(['answer', 'request'] as const)(
    'a publish whose %s was lost resolves, and its event is there once',
    async (lost) => {
      await bus.publish(event('before', 'plain'));
      proxy.misbehaveAt(GROUP_COMMIT, lost);
      const published = await bus.publish(event('a', 'plain'));
      expect(proxy.misdeeds).toBe(1);
      const after = await bus.publish(event('b', 'plain'));
      expect(await log()).toEqual(['before', 'a', 'b']);
      const { rows } = await client.query<{ position: number }>(
        'SELECT position::int FROM carillon.events ORDER BY position',
      );
      expect(rows.map(({ position }) => position).slice(1)).toEqual([published.position, after.position]);
    },
  );

  it.each(['answer', 'request'] as const)(
    'a batch whose %s was lost is there whole, once and in order',
    async (lost) => {
      await bus.publish(event('before', 'plain'));
      proxy.misbehaveAt(GROUP_COMMIT, lost);
      const ids = Array.from({ length: 50 }, (_, n) => `e${n}`);
      const published = await bus.publish(ids.map((id) => event(id, 'plain')));
      expect(proxy.misdeeds).toBe(1);
      expect(published.map(({ id }) => id)).toEqual(ids);
      expect(await log()).toEqual(['before', ...ids]);
    },
  );

  it('a handler’s transaction that was committed, its answer lost, is known to be: it does not run again', async () => {
    proxy.misbehaveAt(COMMIT, 'answer');
    await bus.publish(event('a', 'effect.wanted'));
    await until(async () => (await log()).includes('of a'), 'the follow-up');
    expect(proxy.misdeeds).toBe(1);
    await bus.publish(event('b', 'effect.wanted'));
    await until(async () => (await log()).includes('of b'), 'the next follow-up');
    await bus.drain();
    expect(attempts).toEqual(['a', 'b']);
    expect(await effects()).toEqual(['a', 'b']);
    expect(await log()).toEqual(['a', 'of a', 'b', 'of b']);
    expect((await bus.deadLetters.list({})).length).toBe(0);
  });

  it('a handler’s transaction whose COMMIT never came is ended, and its handler runs again', async () => {
    proxy.misbehaveAt(COMMIT, 'request');
    await bus.publish(event('a', 'effect.wanted'));
    await until(async () => (await log()).includes('of a'), 'the follow-up');
    await bus.drain();
    expect(proxy.misdeeds).toBe(1);
    expect(attempts).toEqual(['a', 'a']);
    expect(await effects()).toEqual(['a']);
    expect(await log()).toEqual(['a', 'of a']);
  });

  it('an application that does not know whether it has committed repeats with the same id: one event', async () => {
    proxy.misbehaveAt(COMMIT, 'answer');
    const publishWithin = async (): Promise<void> => {
      const own = new pg.Client(proxy.url);
      own.on('error', () => undefined);
      await own.connect();
      await own.query('BEGIN');
      await bus.publish(event('a', 'plain'), { tx: own });
      await own.query('COMMIT');
      await own.end();
    };
    await expect(publishWithin()).rejects.toThrow('Connection terminated');
    await publishWithin();
    await until(async () => (await log()).length > 0, 'the event');
    await bus.publish(event('b', 'plain'));
    expect(await log()).toEqual(['a', 'b']);
  });
});
