/**
 * The relay: publishes to the bus what applications have put into the outbox.
 *
 * States, of one process:
 *
 *   stopped ──(start)──► connecting ──► standby ──(the lock is free)──► relaying
 *                            ▲             │                               │
 *                            └── pausing ◄─┴──(connection lost, failed) ◄──┘         any ──(stop)──► stopped
 *
 * - connecting: makes a connection of its own and listens on it.
 * - standby: another relay holds the lock of this outbox; asks for it every `standbyMs`.
 * - relaying: holds it, by its session: no other relay takes anything while the session lives. Goes round:
 *     look    one statement sees what is committed, in the order of numbers (postgres/sql/sequencing.sql)
 *     publish to the bus, which has it durably when the promise resolves; a batch is one unit
 *     settle  removes it from the outbox; or nothing, when the bus could not take it
 *   and waits for a NOTIFY or `lookMs`, when there was nothing.
 * - pausing: longer and longer, with full jitter, up to PAUSE_LAST_MS; then from the start.
 *
 * A crash between publish and settle, or a settle whose answer is lost: the events are published again, with the ids they
 * have, and the bus knows them. A relay that lost its lock and does not know it yet can only publish what it had taken
 * before: the same.
 *
 * A batch that the bus refuses for what is in it is published one event at a time, in order; what is refused by itself is
 * set aside, with the reason, in the table `refused`, and the others go on. What passes is waited for instead.
 */
import {
  carillonError,
  defineModule,
  isCarillonError,
  parseEventText,
  silentLogger,
  systemClock,
  toError,
  type Bus,
  type Event,
  type Logger,
  type Module,
  type ModuleHealth,
} from '../../core/index.ts';
import {
  assertOwnSession,
  connectorOf,
  quoteIdentifier,
  sequencingFile,
  setUpSession,
  takeSteps,
  type Connection,
  type Connector,
  type PostgresAddress,
  type PostgresDatabase,
  type Query,
  type QueryAnswer,
} from '../../postgres/index.ts';
import { channelOf, optionInvalid, schemaOf, wholeNumber } from './options.ts';

export interface OutboxRelaySettings {
  /** The schema of the outbox's tables; made when it is not there. Default `carillon_outbox`. */
  readonly schema?: string;
  /** The module's name. Default `outbox-relay`. */
  readonly moduleId?: string;
  /** Between two looks, should nobody wake the relay, in ms. Default 200. */
  readonly lookMs?: number;
  /** How often a relay that stands by asks whether the other is gone, in ms. Default 1,000. */
  readonly standbyMs?: number;
  /** The most events of one batch; not above the bus's `limits.batchEventsMax`. Default 500. */
  readonly batchEvents?: number;
  /** The most bytes of one batch; one event may always be taken. Default 4 MiB. */
  readonly batchBytes?: number;
}

/** The database that the outbox is in, and how it is relayed: in one object, or as a URL. */
export type OutboxRelayOptions =
  | string
  | (OutboxRelaySettings &
      (PostgresAddress | { readonly url: string } | Extract<PostgresDatabase, { readonly pool: unknown }>));

const PAUSE_FIRST_MS = 50;
const PAUSE_LAST_MS = 5000;
/** A server that does not answer for so long is taken for lost. */
const ANSWER_MS = 60_000;

const steps: readonly (readonly URL[])[] = [[new URL('sql/0001.sql', import.meta.url), sequencingFile]];

/**
 * A module that publishes what is in an outbox to its bus. Any number of processes may run one on the same outbox: one
 * relays, the others stand by. At least once, in the order of the transactions' commits as far as one could see another,
 * and once to a bus that deduplicates.
 *
 * Starting fails with `CARILLON_DATABASE_UNREACHABLE`, `CARILLON_DATABASE_LOGIN`, `CARILLON_DATABASE_TLS`,
 * `CARILLON_DATABASE_UNKNOWN`, `CARILLON_DATABASE_RIGHTS`, `CARILLON_DATABASE_POOLED`, `CARILLON_STORAGE_VERSION`. Later the
 * database is waited for, and the module says that it is unhealthy. Fails at once with `CARILLON_OPTION_INVALID`.
 */
export function outboxRelay(options: OutboxRelayOptions): Module {
  if (typeof options === 'string') return outboxRelay({ url: options });
  if (typeof options !== 'object' || options === null)
    throw optionInvalid('database', 'an outbox is in a database: give a URL or options');
  const { schema, moduleId = 'outbox-relay', lookMs, standbyMs, batchEvents, batchBytes, ...database } = options;
  const connector = connectorOf(database);
  const parts = {
    connector,
    schema: schemaOf(schema),
    lookMs: wholeNumber('lookMs', lookMs, 200, 60_000),
    standbyMs: wholeNumber('standbyMs', standbyMs, 1000, 60_000),
    batchEvents: wholeNumber('batchEvents', batchEvents, 500, 100_000),
    batchBytes: wholeNumber('batchBytes', batchBytes, 4 * 1024 * 1024, 1024 ** 3),
  };
  // A module holds no state: several buses may run it.
  const relays = new WeakMap<Bus, Relay>();
  const running = new Set<Relay>();
  return defineModule(moduleId, {
    onStart: async ({ bus, log }) => {
      const relay = new Relay(parts, bus, log);
      await relay.start();
      relays.set(bus, relay);
      running.add(relay);
    },
    onStop: async ({ bus }) => {
      const relay = relays.get(bus);
      if (!relay) return;
      running.delete(relay);
      await relay.stop();
    },
    onHealth: () => {
      const all = [...running].map((relay) => relay.health());
      return all.find(({ healthy }) => !healthy) ?? all[0] ?? { healthy: true };
    },
  });
}

interface RelayParts extends Required<Omit<OutboxRelaySettings, 'moduleId'>> {
  readonly connector: Connector;
}

type State = 'connecting' | 'standby' | 'relaying' | 'pausing' | 'stopped';

/** What one look has found, and what `settle` is to be told of it. */
interface Look {
  readonly version: string;
  readonly upTo: string;
  readonly horizon: string | null;
  readonly ended: string;
  readonly found: readonly string[];
}

interface Taken {
  readonly no: string;
  readonly text: string;
}

interface Refused {
  readonly no: string;
  readonly code: string;
  readonly message: string;
}

class Relay {
  readonly parts: RelayParts;
  readonly bus: Bus;
  readonly log: Logger;
  state: State = 'stopped';
  stopping = false;
  failure: Error | null = null;
  connection: Connection | null = null;
  /** Ends the wait that is under way. */
  wake: () => void = () => undefined;
  /** Whether there was a NOTIFY since the last look. */
  notified = false;
  done: Promise<void> = Promise.resolve();

  constructor(parts: RelayParts, bus: Bus, log: Logger = silentLogger) {
    this.parts = parts;
    this.bus = bus;
    this.log = log;
  }

  /** Makes the tables, so that applications can publish once the bus is started, and goes to work. */
  async start(): Promise<void> {
    const connection = await this.parts.connector.connect();
    try {
      await assertOwnSession(this.parts.connector, connection);
      await takeSteps(connection, this.parts.schema, steps);
    } finally {
      await connection.close();
    }
    this.done = this.run();
  }

  /** Lets the batch in hand end. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.wake();
    await this.done;
  }

  health(): ModuleHealth {
    if (this.failure === null) return { healthy: true, detail: this.state };
    return { healthy: false, detail: this.failure.message };
  }

  async run(): Promise<void> {
    for (let pauseMs = PAUSE_FIRST_MS; !this.stopping; pauseMs = Math.min(pauseMs * 2, PAUSE_LAST_MS)) {
      try {
        await this.session(() => (pauseMs = PAUSE_FIRST_MS));
      } catch (thrown) {
        const error = toError(thrown);
        if (this.stopping) break;
        if (this.failure === null) this.log.warn('the outbox is not relayed', { error: error.message });
        this.failure = error;
        this.state = 'pausing';
        await this.wait(Math.random() * pauseMs);
      }
    }
    this.state = 'stopped';
  }

  /** One connection's life. @param succeeded called whenever the outbox is as it should be */
  async session(succeeded: () => void): Promise<void> {
    const { connector, schema, standbyMs, lookMs } = this.parts;
    this.state = 'connecting';
    const connection = await connector.connect();
    this.connection = connection;
    connection.onNotification(() => {
      this.notified = true;
      this.wake();
    });
    void connection.broken.then(() => this.wake());
    try {
      await this.answered((open) => setUpSession(open, schema));
      await this.ask(`LISTEN ${quoteIdentifier(channelOf(schema), 'channel')}`);
      while (!this.stopping && !(await this.lock())) {
        this.state = 'standby';
        this.well(succeeded);
        await this.wait(standbyMs);
      }
      this.state = 'relaying';
      while (!this.stopping) {
        this.notified = false;
        const some = await this.relayOnce();
        this.well(succeeded);
        if (!some && !this.notified) await this.wait(lookMs);
      }
    } finally {
      this.connection = null;
      // The lock goes with the session. One that is broken is closed already.
      await connection.close();
    }
  }

  well(succeeded: () => void): void {
    succeeded();
    if (this.failure !== null) this.log.info('the outbox is relayed again');
    this.failure = null;
  }

  async lock(): Promise<boolean> {
    const { rows } = await this.ask({
      text: 'SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS held',
      values: [`carillon relays ${this.parts.schema}`],
    });
    return rows[0]?.['held'] === true;
  }

  /** Looks, publishes and settles once; whether there was something. */
  async relayOnce(): Promise<boolean> {
    const look = await this.look();
    if (look === null) return false;
    const taken = look.found.length === 0 ? [] : await this.read(look.found);
    const settled: string[] = [];
    const refused: Refused[] = [];
    try {
      await this.publish(taken, settled, refused);
    } finally {
      // What the bus has is settled, though it could not take the rest.
      await this.settle(look, settled, refused);
    }
    return taken.length > 0;
  }

  async look(): Promise<Look | null> {
    const { rows } = await this.ask({
      name: 'see',
      text: `SELECT version::text, up_to::text AS "upTo", horizon::text, ended::text, nos::text[] AS found FROM see_incoming($1)`,
      values: [this.parts.batchEvents],
    });
    const look = rows[0] as unknown as Look;
    return look.upTo === null ? null : look;
  }

  async read(found: readonly string[]): Promise<readonly Taken[]> {
    const { rows } = await this.ask({
      name: 'read',
      text: 'SELECT no::text, event AS text FROM read_incoming($1, $2)',
      values: [found.slice(0, this.parts.batchEvents), this.parts.batchBytes],
    });
    return rows as unknown as readonly Taken[];
  }

  async publish(taken: readonly Taken[], settled: string[], refused: Refused[]): Promise<void> {
    const readable: { readonly no: string; readonly event: Event }[] = [];
    for (const { no, text } of taken) {
      const event = this.refusing(no, refused, () =>
        parseEventText(text, { eventBytesMax: Infinity, jsonDepthMax: 1000 }),
      );
      if (event) readable.push({ no, event });
    }
    if (readable.length === 0) return;
    try {
      await this.bus.publish(readable.map(({ event }) => event));
      settled.push(...readable.map(({ no }) => no));
    } catch (error) {
      if (!isLasting(error)) throw error;
      for (const { no, event } of readable) {
        try {
          await this.bus.publish(event);
          settled.push(no);
        } catch (reason) {
          this.setAside(no, refused, reason);
        }
      }
    }
  }

  refusing<Result>(no: string, refused: Refused[], work: () => Result): Result | undefined {
    try {
      return work();
    } catch (error) {
      this.setAside(no, refused, error);
      return undefined;
    }
  }

  setAside(no: string, refused: Refused[], error: unknown): void {
    if (!isLasting(error)) throw error;
    const { code, message } = error;
    this.log.error('the bus refuses an event of the outbox', { no, code, error: message });
    refused.push({ no, code, message });
  }

  async settle({ version, upTo, horizon, ended, found }: Look, settled: string[], refused: Refused[]): Promise<void> {
    const nos = refused.map(({ no }) => no);
    await this.ask({
      name: 'settle',
      text: 'SELECT settle($1, $2, $3, $4, $5, $6, $7, $8, $9)',
      values: [
        version,
        upTo,
        horizon,
        ended,
        found,
        [...settled, ...nos],
        nos,
        refused.map(({ code }) => code),
        refused.map(({ message }) => message),
      ],
    });
  }

  ask(query: string | Query): Promise<QueryAnswer> {
    return this.answered((connection) => connection.query(query));
  }

  async answered<Result>(work: (connection: Connection) => Promise<Result>): Promise<Result> {
    const { connection } = this;
    if (connection === null) throw carillonError('CARILLON_BUG', 'the relay has no connection');
    const timer = systemClock.setTimer(ANSWER_MS, () => connection.abort());
    try {
      return await work(connection);
    } finally {
      timer.cancel();
    }
  }

  wait(ms: number): Promise<void> {
    if (this.stopping) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        this.wake = () => undefined;
        resolve();
      };
      const timer = systemClock.setTimer(ms, end);
      this.wake = end;
    });
  }
}

/** Kinds of errors that are the event's own, and the same whenever it is published again. */
const LASTING: ReadonlySet<string> = new Set(['data', 'conflict', 'limit', 'usage']);

const isLasting = (error: unknown): error is { readonly code: string; readonly message: string } =>
  isCarillonError(error) && !error.retryable && LASTING.has(error.kind);
