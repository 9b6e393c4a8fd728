import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { createBus } from '../../src/bus/index.ts';
import { defineModule, makeEvent, noRetry, type Bus, type Event, type Module } from '../../src/core/index.ts';
import { logEngine } from '../../src/engine/log/index.ts';
import { resolveOptions, type PostgresRetentionSettings } from '../../src/engines/postgres/options.ts';
import type { PostgresRetention } from '../../src/engines/postgres/retention.ts';
import { PostgresStore } from '../../src/engines/postgres/store.ts';
import { fakeClock, type FakeClock } from '../../src/testing/index.ts';
import { setUpSession } from '../../src/postgres/index.ts';
import { freshDatabase, type FreshDatabase } from './fresh-database.ts';

const HOUR_MS = 3_600_000;

interface Opened {
  readonly bus: Bus;
  readonly clock: FakeClock;
  readonly retention: PostgresRetention;
  readonly store: PostgresStore;
}

describe('retention', () => {
  let database: FreshDatabase;
  const buses: Bus[] = [];

  afterEach(async () => {
    await Promise.all(buses.splice(0).map((bus) => bus.stop()));
    await database.drop();
  });

  async function opened(settings: PostgresRetentionSettings, modules: readonly Module[] = []): Promise<Opened> {
    database = await freshDatabase();
    const clock = fakeClock();
    const store = new PostgresStore(
      resolveOptions({ url: database.url, lookMs: 20, segmentEvents: 1000, retention: settings }),
    );
    const bus = await createBus({ engine: logEngine(store), clock, modules });
    buses.push(bus);
    return { bus, clock, store, retention: store.retention as PostgresRetention };
  }

  const events = (from: number, count: number, bytes = 0): Event[] =>
    Array.from({ length: count }, (_, n) =>
      makeEvent(
        { specversion: '1.0', id: `e${from + n}`, source: '/s', type: 't' },
        randomBytes(bytes / 2).toString('hex'),
      ),
    );

  async function ids(bus: Bus): Promise<string[]> {
    const found: string[] = [];
    for await (const { event } of bus.read()) found.push(event.id);
    return found;
  }

  async function partitions(store: PostgresStore): Promise<string[]> {
    const rows = await store.rows({
      text: "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE inhparent = 'events'::regclass ORDER BY c.oid",
    });
    return rows.map(([name]) => name as string);
  }

  it('removes what is too old, as whole partitions, and keeps what is not', async () => {
    const { bus, clock, store, retention } = await opened({ maxAgeMs: 24 * HOUR_MS });
    await bus.publish(events(1, 10));
    await clock.advance(4 * HOUR_MS);
    await retention.run();
    await bus.publish(events(11, 10));
    await clock.advance(4 * HOUR_MS);
    await retention.run();
    expect(await partitions(store)).toEqual(['events_1', 'events_2', 'events_3']);
    await clock.advance(17 * HOUR_MS);
    await retention.run();
    expect(await partitions(store)).not.toContain('events_1');
    expect(await ids(bus)).toEqual(events(11, 10).map(({ id }) => id));
    await clock.advance(24 * HOUR_MS);
    await retention.run();
    expect(await ids(bus)).toEqual([]);
    await bus.publish(events(21, 1));
    expect(await ids(bus)).toEqual(['e21']);
  });

  it('removes the oldest when the log takes more on disk than it may', async () => {
    const { bus, store, retention } = await opened({ maxBytes: 4_000_000 });
    for (let round = 0; round < 12; round++) {
      await bus.publish(events(round * 100, 100, 5000));
      await retention.run();
    }
    const [size] = await store.rows({ text: 'SELECT sum(bytes) FROM segments_told()' });
    expect(Number(size?.[0])).toBeLessThan(4_000_000 * (1 + 1 / 8) + 600_000);
    const left = await ids(bus);
    expect(left.at(-1)).toBe('e1199');
    expect(left.length).toBeLessThan(1200);
    expect(left).toEqual(events(1200 - left.length, left.length).map(({ id }) => id));
  });

  it('tells a gap to who has read up to a position before it, and names where to start', async () => {
    const { bus, clock, retention } = await opened({ maxAgeMs: 8 * HOUR_MS });
    await bus.publish(events(1, 10));
    await clock.advance(2 * HOUR_MS);
    await retention.run();
    await bus.publish(events(11, 10));
    await clock.advance(7 * HOUR_MS);
    await retention.run();
    const { first } = await bus.ends();
    expect(first).toBeGreaterThan(10);
    const read = async (after: number): Promise<number> => {
      let count = 0;
      for await (const { position } of bus.read({ after })) count += position > 0 ? 1 : 0;
      return count;
    };
    await expect(read(5)).rejects.toMatchObject({ code: 'CARILLON_GAP', details: { first } });
    expect(await read(first - 1)).toBe(10);
    expect(await read(0)).toBe(10);
    const late = bus.subscribe('t', () => undefined, { name: 'late', from: { position: 5 } });
    await expect(late).rejects.toMatchObject({ code: 'CARILLON_GAP' });
  });

  it('waits for a handler that is behind, and lets go once it has caught up', async () => {
    let open = (): void => undefined;
    const opens = new Promise<void>((resolve) => (open = resolve));
    const handled: string[] = [];
    const slow = defineModule('slow', (m) =>
      m.handle(
        't',
        async ({ id }) => {
          await opens;
          handled.push(id);
        },
        { name: 'h', from: 'beginning', concurrency: 1, timeoutMs: 100 * HOUR_MS },
      ),
    );
    const { bus, clock, retention, store } = await opened({ maxAgeMs: 8 * HOUR_MS }, [slow]);
    await bus.publish(events(1, 50));
    await clock.advance(2 * HOUR_MS);
    await retention.run();
    await bus.publish(events(51, 1));
    await clock.advance(20 * HOUR_MS);
    await retention.run();
    expect(await partitions(store)).toContain('events_1');
    const behind = [...(await retention.settled())].filter(([, position]) => position < 50);
    expect(behind.map(([name]) => name)).toEqual(['slow.h']);
    open();
    await bus.drain();
    await bus.publish(events(52, 1));
    await bus.drain();
    await clock.advance(1000);
    await retention.run();
    expect(await partitions(store)).not.toContain('events_1');
    expect(handled).toEqual(events(1, 52).map(({ id }) => id));
  });

  it('drops what a handler has not handled, where that is asked for, and the handler goes on behind it', async () => {
    const { bus, clock, retention } = await opened({ maxAgeMs: 8 * HOUR_MS, unread: 'drop' });
    const handled: string[] = [];
    const subscribe = () => bus.subscribe('t', ({ id }) => void handled.push(id), { name: 'h', from: 'beginning' });
    const subscription = await subscribe();
    await bus.publish(events(1, 1));
    await bus.drain();
    await subscription.stop();
    await bus.publish(events(2, 10));
    await clock.advance(2 * HOUR_MS);
    await retention.run();
    await bus.publish(events(12, 2));
    await clock.advance(7 * HOUR_MS);
    await retention.run();
    await subscribe();
    await bus.drain();
    expect(handled).toEqual(['e1', 'e12', 'e13']);
  });

  it('keeps the event of a dead letter until that is settled', async () => {
    let works = false;
    const handled: string[] = [];
    const failing = defineModule('m', (m) =>
      m.handle(
        't',
        ({ id }) => {
          if (!works) throw new Error('no luck');
          handled.push(id);
        },
        { name: 'h', from: 'beginning', retry: noRetry() },
      ),
    );
    const { bus, clock, retention, store } = await opened({ maxAgeMs: 8 * HOUR_MS }, [failing]);
    await bus.publish(events(1, 3));
    await bus.drain();
    await clock.advance(2 * HOUR_MS);
    await retention.run();
    await bus.publish(events(4, 1));
    await bus.drain();
    await clock.advance(7 * HOUR_MS);
    await retention.run();
    expect(await partitions(store)).not.toContain('events_1');
    expect((await bus.deadLetters.list()).map(({ event }) => event?.id)).toEqual(['e1', 'e2', 'e3', 'e4']);
    works = true;
    await bus.deadLetters.redrive({ subscription: 'm.h' });
    await bus.drain();
    expect(handled).toEqual(['e1', 'e2', 'e3', 'e4']);
    await retention.run();
    const [kept] = await store.rows({ text: 'SELECT count(*) FROM kept_events' });
    expect(Number(kept?.[0])).toBe(0);
  });

  it('gives up for now when somebody is reading the log for long, and does it the next time', async () => {
    const { bus, clock, retention, store } = await opened({ maxAgeMs: 8 * HOUR_MS });
    await bus.publish(events(1, 1));
    await clock.advance(2 * HOUR_MS);
    await retention.run();
    await clock.advance(7 * HOUR_MS);
    const reader = await store.connector.connect();
    await setUpSession(reader, store.options.schema);
    await reader.query('BEGIN; SELECT count(*) FROM events');
    await retention.run();
    expect(await partitions(store)).toContain('events_1');
    await bus.publish(events(2, 1));
    await reader.query('COMMIT');
    await reader.close();
    await retention.run();
    expect(await partitions(store)).not.toContain('events_1');
  });
});
