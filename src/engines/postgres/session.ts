import { carillonError, isCarillonError, systemClock, toError, type Clock, type Timer } from '../../core/index.ts';
import type { Connection, ConnectionOptions, Connector } from '../../postgres/index.ts';

/** Whether the database can be used, as all sessions of one engine see it. */
export class Outage {
  readonly told: (reason: Error | null) => void;
  reason: Error | null = null;

  /** @param told of the first failure, of one of another kind after it, and of the end */
  constructor(told: (reason: Error | null) => void) {
    this.told = told;
  }

  failed(reason: Error): void {
    const before = this.reason;
    this.reason = reason;
    if (codeOf(before) !== codeOf(reason)) this.told(reason);
  }

  /** @param wrote whether it was work that writes: reading goes well on a disk that is full, and on a standby */
  over(wrote: boolean): void {
    if (this.reason === null || (!wrote && !isUnreachable(this.reason))) return;
    this.reason = null;
    this.told(null);
  }
}

const codeOf = (error: Error | null): string | null => (isCarillonError(error) ? error.code : null);

/** What a session is made of. */
export interface SessionParts {
  readonly connector: Connector;
  readonly outage: Outage;
  /** Whether nearly all that is done on it writes. */
  readonly writes: boolean;
  /** Makes a new connection ready. */
  readonly prepare: (connection: Connection) => Promise<void>;
  readonly options?: ConnectionOptions;
  /** Told that a connection has broken by itself. */
  readonly onBroken?: () => void;
  /** Told that a connection was given up because no answer came. */
  readonly onSilent?: () => void;
}

/** What differs between the sessions of one engine. */
export type OwnSessionParts = Omit<SessionParts, 'connector' | 'outage'>;

const RETRY_FIRST_MS = 20;
const RETRY_LAST_MS = 1000;
const clock: Clock = systemClock;

const isUnreachable = (error: unknown): boolean => isCarillonError(error, 'CARILLON_DATABASE_UNREACHABLE');

/** What another connection may mend: after a failover the address leads to another server before long. */
export const isAway = (error: unknown): boolean =>
  isUnreachable(error) || isCarillonError(error, 'CARILLON_DATABASE_READ_ONLY');

/** How long work goes on being begun again, and after what. */
export interface Patience {
  /** After so many ms it fails with the last refusal. Default: never. */
  readonly ms?: number;
  /** A connection on which it is not done after so many ms is taken for broken. Default: never. */
  readonly answerMs?: number;
  /** Refusals that pass on the same connection, such as a full disk. Default: none, they are told at once. */
  readonly waitsOut?: (error: Error) => boolean;
}

/** The server's process of an earlier connection, unless another has its number by now. */
export const END_EARLIER = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE pid = $1 AND usename = current_user AND application_name = current_setting('application_name')`;

/**
 * One connection at a time, made when it is needed and made again when it broke. Work on it is done one after the other, but
 * for what is sent beside other work that was sent (`send`).
 *
 * States: `idle` → (work) → `opening` → `open` → (broken, silent for too long, or a server that only reads) → `idle`;
 * any → (close) → `closed`. Work that meets a database that cannot be used now is begun again from the start, with longer and
 * longer pauses (with full jitter, up to 1 s), until it succeeds, the session is closed, or its patience is at an end.
 *
 * A connection is given up here before the server knows: so the next one first ends the server's process of the one before
 * it. What that was asked for is applied by then or never, and its locks are free.
 *
 * The engine has connected before there are sessions. So whatever keeps one from connecting, a login refused as much as a
 * network, may pass as it has come, and counts as `CARILLON_DATABASE_UNREACHABLE`.
 */
export class Session {
  readonly parts: SessionParts;
  connection: Connection | null = null;
  /** One that is made ready. */
  opening: Connection | null = null;
  /** The server's process of the last connection. */
  lastProcess: number | null = null;
  closed = false;
  /** No work is begun again from then on. */
  endsAt: number = Infinity;
  cut: Timer | null = null;
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
   */
  run<Result>(work: (connection: Connection) => Promise<Result>, patience: Patience = {}): Promise<Result> {
    this.running++;
    const done = this.queue.then(() => this.attempt(work, patience)).finally(() => this.running--);
    this.queue = done.catch(() => undefined);
    return done;
  }

  /**
   * Begins work at once, beside what was sent before it, on a pipelined connection that is open; null when there is none,
   * or when there is work of `run`. It is begun this one time: when the connection breaks, or is silent for `answerMs`, it
   * fails with `CARILLON_DATABASE_UNREACHABLE`.
   */
  send<Result>(work: (connection: Connection) => Promise<Result>, answerMs: number): Promise<Result> | null {
    const { connection } = this;
    if (this.closed || this.running > 0 || !connection?.pipelined) return null;
    const done = this.answered(work(connection), answerMs);
    // Whatever `run` does comes after it.
    this.queue = Promise.allSettled([this.queue, done]);
    return done;
  }

  async attempt<Result>(
    work: (connection: Connection) => Promise<Result>,
    { ms = Infinity, answerMs = Infinity, waitsOut = () => false }: Patience,
  ): Promise<Result> {
    const { outage, writes } = this.parts;
    const endsAt = clock.monotonic() + ms;
    for (let pauseMs = RETRY_FIRST_MS; ; pauseMs = Math.min(pauseMs * 2, RETRY_LAST_MS)) {
      if (this.closed) throw carillonError('CARILLON_STOPPED', 'the postgres engine is closed');
      try {
        const result = await this.answered(this.opened().then(work), answerMs);
        outage.over(writes);
        return result;
      } catch (thrown) {
        const error = toError(thrown);
        const away = isAway(error);
        if (!away && !waitsOut(error)) throw error;
        if (away) this.drop();
        if (this.closed || clock.monotonic() >= Math.min(endsAt, this.endsAt)) throw error;
        outage.failed(error);
        await this.pause(Math.random() * pauseMs);
      }
    }
  }

  /** Breaks the connection when the work on it takes longer: a network that swallows everything tells nobody. */
  async answered<Result>(work: Promise<Result>, answerMs: number): Promise<Result> {
    if (answerMs === Infinity) return work;
    const timer = clock.setTimer(answerMs, () => {
      this.drop();
      this.parts.onSilent?.();
    });
    try {
      return await work;
    } finally {
      timer.cancel();
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
    const connection = await connector.connect(options).catch((error: unknown) => {
      throw unreachable(error);
    });
    this.opening = connection;
    try {
      if (this.lastProcess !== null) await connection.query({ text: END_EARLIER, values: [this.lastProcess] });
      this.lastProcess = connection.processId;
      await prepare(connection);
    } catch (error) {
      await connection.close();
      throw error;
    } finally {
      this.opening = null;
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
    const { connection, opening } = this;
    this.connection = null;
    // Not waited for: what is broken may never answer.
    connection?.abort();
    opening?.abort();
  }

  /** The end is near: a database that cannot be used, or does not answer, is waited for no longer than this. */
  endWithin(ms: number): void {
    this.endsAt = clock.monotonic() + ms;
    this.cut = clock.setTimer(ms, () => this.drop());
  }

  /** Waits for the work in hand, unless that waits for the database. */
  async close(): Promise<void> {
    this.closed = true;
    this.hurry();
    await this.queue;
    this.cut?.cancel();
    await this.connection?.close();
    this.connection = null;
  }

  /** As the end of the process: nothing is waited for, and no leave taken. */
  kill(): void {
    this.closed = true;
    this.hurry();
    this.cut?.cancel();
    this.drop();
  }
}

function unreachable(thrown: unknown): Error {
  const error = toError(thrown);
  if (isUnreachable(error)) return error;
  const details = isCarillonError(error) ? error.details : {};
  return carillonError('CARILLON_DATABASE_UNREACHABLE', error.message, details, error);
}
