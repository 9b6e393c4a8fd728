import { createBus, type Bus, type Event, type Module, type StoredEvent } from 'carillon';
import { memory, memoryLog } from 'carillon/memory';
import {
  postgresChanges,
  type PostgresChanges,
  type PostgresChangesOptions,
  type RowChange,
} from 'carillon/sources/postgres-changes';
import pg from 'pg';
import { freshDatabase, type FreshDatabase } from './fresh-database.ts';
import { untilWithinAMinute as until } from './waiting.ts';

export type Change = Event<RowChange>;

/** A database that a source captures onto a log in memory, which outlives each bus. */
export interface Captured {
  readonly database: FreshDatabase;
  readonly client: pg.Client;
  readonly log: ReturnType<typeof memoryLog>;
  /** Options of a source of this database; slots are per server, so it has a name of its own. */
  options(given?: Partial<PostgresChangesOptions>): PostgresChangesOptions;
  /** Starts a bus with the source. */
  start(
    given?: Partial<PostgresChangesOptions>,
    more?: { readonly modules?: readonly Module[]; readonly batchEventsMax?: number },
  ): Promise<Running>;
  slot(): Promise<Readonly<Record<string, string>> | undefined>;
  value(sql: string, values?: unknown[]): Promise<unknown>;
  /** Stops whatever runs, drops slot and database. */
  dispose(): Promise<void>;
  /** Stops whatever runs, and leaves the rest. */
  leave(): Promise<void>;
}

export interface Running {
  readonly bus: Bus;
  readonly changes: PostgresChanges;
  streaming(): Promise<void>;
  /** All events of rows, once there are so many. */
  events(count: number): Promise<readonly Change[]>;
  all(): Promise<readonly StoredEvent[]>;
  journal(kind: string): Promise<readonly Event[]>;
  stop(): Promise<void>;
}

const isJournal = ({ type }: Event): boolean => type.startsWith('carillon.changes.');

export async function captured(setup: string, url?: string): Promise<Captured> {
  const database: FreshDatabase =
    url === undefined
      ? await freshDatabase()
      : { name: 'postgres', url, query: () => Promise.resolve(), drop: () => Promise.resolve() };
  const client = new pg.Client({ connectionString: database.url });
  client.on('error', () => undefined);
  await client.connect();
  await client.query(setup);
  const log = memoryLog();
  const name = `t_${database.name.slice(-12)}`;
  const running = new Set<Running>();
  const value = async (sql: string, values?: unknown[]): Promise<unknown> =>
    Object.values((await client.query<Record<string, unknown>>(sql, values)).rows[0] ?? {})[0];
  const slot = async (): Promise<Readonly<Record<string, string>> | undefined> =>
    (
      await client.query<Record<string, string>>('SELECT * FROM pg_replication_slots WHERE slot_name = $1', [
        `carillon_${name}`,
      ])
    ).rows[0];
  const options = (given: Partial<PostgresChangesOptions> = {}): PostgresChangesOptions => ({
    database: database.url,
    name,
    reconnect: { firstMs: 20, lastMs: 200 },
    ...given,
  });

  const start: Captured['start'] = async (given = {}, { modules = [], batchEventsMax } = {}) => {
    const changes = postgresChanges(options(given));
    const limits = batchEventsMax === undefined ? {} : { batchEventsMax };
    const bus = await createBus({ engine: memory(log), modules: [changes, ...modules], limits });
    const state = (): string => JSON.stringify({ ...changes.status(), error: changes.status().error?.message });
    const all = async (): Promise<readonly StoredEvent[]> => {
      const events: StoredEvent[] = [];
      for await (const stored of bus.read()) events.push(stored);
      return events;
    };
    const rows = async (): Promise<readonly Change[]> =>
      (await all()).map(({ event }) => event as Change).filter((event) => !isJournal(event));
    const handle: Running = {
      bus,
      changes,
      streaming: () => until(() => changes.status().state === 'streaming', state),
      events: async (count) => {
        await until(async () => (await rows()).length >= count, state);
        return rows();
      },
      all,
      journal: async (kind) =>
        (await all()).map(({ event }) => event).filter(({ type }) => type === `carillon.changes.${kind}`),
      stop: async () => {
        running.delete(handle);
        await bus.stop();
      },
    };
    running.add(handle);
    return handle;
  };

  return {
    database,
    client,
    log,
    options,
    start,
    slot,
    value,
    leave: async () => {
      for (const one of running) await one.stop();
      await client.end();
    },
    dispose: async () => {
      for (const one of running) await one.stop();
      await until(
        async () => (await slot())?.['active'] !== (true as unknown),
        () => 'the slot stays in use',
      );
      if ((await slot()) !== undefined) await client.query('SELECT pg_drop_replication_slot($1)', [`carillon_${name}`]);
      await client.end();
      await database.drop();
    },
  };
}
