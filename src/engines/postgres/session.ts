import { carillonError, isCarillonError, systemClock, type Clock } from '../../core/index.ts';
import type { Connection, ConnectionOptions, Connector } from '../../postgres/index.ts';

/** Whether the database can be reached, as all sessions of one engine see it. */
export class Outage {
  readonly told: (reason: Error | null) => void;
  reason: Error | null = null;

  /** @param told of the first failure, and of the end of it */
  constructor(told: (reason: Error | null) => void) {
    this.told = told;
  }

  failed(reason: Error): void {
    if (this.reason === null) this.told(reason);
    this.reason = reason;
  }

  over(): void {
    if (this.reason === null) return;
    this.reason = null;
    this.told(null);
  }
}

/** What a session is made of. */
export interface SessionParts {
  readonly connector: Connector;
  readonly outage: Outage;
  /** Makes a new connection ready. */
  readonly prepare: (connection: Connection) => Promise<void>;
  readonly options?: ConnectionOptions;
  /** Told that a connection has broken by itself. */
  readonly onBroken?: () => void;
}

const RETRY_FIRST_MS = 20;
const RETRY_LAST_MS = 1000;
const clock: Clock = systemClock;

/**
 * One connection at a time, made when it is needed and made again when it broke. Work on it is done one after the other, but
 * for what is sent beside other work that was sent (`send`).
 *
 * States: `idle` → (work) → `open` → (broken) → `idle`; any → (close) → `closed`. Work that meets a database that cannot
 * be reached is begun again from the start, with longer and longer pauses (with full jitter, up to 1 s), until it
 * succeeds, the session is closed, or its patience is at an end.
 */
export class Session {
  readonly parts: SessionParts;
  connection: Connection | null = null;
  closed = false;
  /** Ends a pause. */
  hurry: () => void = () => undefined;
  queue: Promise<unknown> = Promise.resolve();
  /** Work of `run` that is not done. */
  running = 0;

  constructor(parts: SessionParts) {
    this.parts = parts;
  }

  /**
   * @param work may be begun several times: what it did before the connection broke may or may not have been committed
   * @param patienceMs after which it fails with `CARILLON_DATABASE_UNREACHABLE`
   */
  run<Result>(work: (connection: Connection) => Promise<Result>, patienceMs: number = Infinity): Promise<Result> {
    this.running++;
    const done = this.queue
      .then(() => this.attempt(work, clock.monotonic() + patienceMs))
      .finally(() => this.running--);
    this.queue = done.catch(() => undefined);
    return done;
  }

  /**
   * Begins work at once, beside what was sent before it, on a pipelined connection that is open; null when there is none,
   * or when there is work of `run`. It is begun this one time: when the connection breaks, it fails with
   * `CARILLON_DATABASE_UNREACHABLE`.
   */
  send<Result>(work: (connection: Connection) => Promise<Result>): Promise<Result> | null {
    const { connection } = this;
    if (this.closed || this.running > 0 || !connection?.pipelined) return null;
    const done = work(connection);
    // Whatever `run` does comes after it.
    this.queue = Promise.allSettled([this.queue, done]);
    return done;
  }

  async attempt<Result>(work: (connection: Connection) => Promise<Result>, endsAt: number): Promise<Result> {
    for (let pauseMs = RETRY_FIRST_MS; ; pauseMs = Math.min(pauseMs * 2, RETRY_LAST_MS)) {
      if (this.closed) throw carillonError('CARILLON_STOPPED', 'the postgres engine is closed');
      try {
        const result = await work(await this.opened());
        this.parts.outage.over();
        return result;
      } catch (error) {
        if (!isCarillonError(error, 'CARILLON_DATABASE_UNREACHABLE')) throw error;
        this.drop();
        if (this.closed || clock.monotonic() >= endsAt) throw error;
        this.parts.outage.failed(error);
        await this.pause(Math.random() * pauseMs);
      }
    }
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = clock.setTimer(ms, resolve);
      this.hurry = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  async opened(): Promise<Connection> {
    if (this.connection) return this.connection;
    const { connector, options, prepare, onBroken } = this.parts;
    const connection = await connector.connect(options);
    try {
      await prepare(connection);
    } catch (error) {
      await connection.close();
      throw error;
    }
    if (this.closed) {
      await connection.close();
      throw carillonError('CARILLON_STOPPED', 'the postgres engine is closed');
    }
    this.connection = connection;
    void connection.broken.then(() => {
      if (this.connection !== connection) return;
      this.connection = null;
      onBroken?.();
    });
    return connection;
  }

  /** Work that was sent has found this connection broken. */
  broke(connection: Connection): void {
    if (this.connection === connection) this.drop();
  }

  drop(): void {
    const { connection } = this;
    this.connection = null;
    // Not waited for: what is broken may never answer.
    connection?.abort();
  }

  /** Waits for the work in hand, unless that waits for the database. */
  async close(): Promise<void> {
    this.closed = true;
    this.hurry();
    await this.queue;
    await this.connection?.close();
    this.connection = null;
  }

  /** As the end of the process: nothing is waited for, and no leave taken. */
  kill(): void {
    this.closed = true;
    this.hurry();
    this.drop();
  }
}
