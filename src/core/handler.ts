import type { Event } from './event.ts';
import type { Logger } from './logger.ts';

/** What an async handler is given beside its event. One object per attempt. */
export interface HandlerContext {
  /** The durable name this handler is subscribed under. */
  readonly subscription: string;
  /** Which attempt this is, 1 for the first. Counted durably before the handler runs: a crash counts (G2). */
  readonly attempt: number;
  /** The event's place in the log. For a batch: of its first event. */
  readonly position: number;
  /** When the attempt's time is up, ms since the Unix epoch. */
  readonly deadlineMs: number;
  /** Aborts when the time is up, the bus stops for good, or the lease is lost. Its reason is a catalogued error. */
  readonly signal: AbortSignal;
  /** The handler's logger, with subscription, event id and attempt in each line. */
  readonly log: Logger;
  /**
   * Publishes as part of this attempt: appended in one commit with the acknowledgement, or not at all. Returns at
   * once: there is nothing to await before the handler is done, and the id is `event.id`. `correlationid`, `causationid` and the trace context follow from the event in hand unless set.
   * After the attempt is over: `CARILLON_LEASE_LOST`.
   */
  publish(event: Event): void;
  /** Ends this attempt as failed and tries again after exactly `delayMs`. Never returns. Counts as an attempt. */
  retryLater(delayMs: number, reason?: string): never;
  /** Ends the delivery: it is dead, whatever attempts are left. Never returns. */
  giveUp(reason: string): never;
  /**
   * The engine's own transaction, where the engine is the application's database too and the handler asked for it
   * with `transaction: true`. Its writes, the publishes and the acknowledgement commit together (G12).
   */
  readonly tx: Transaction;
}

/** The application's side of an engine's transaction. Statements run in order; a failure undoes the whole attempt. */
export interface Transaction {
  /** Runs a statement that changes something. */
  run(sql: string, parameters?: readonly SqlValue[]): Promise<{ readonly changes: number }>;
  /** The rows of a query. */
  all(sql: string, parameters?: readonly SqlValue[]): Promise<readonly Readonly<Record<string, SqlValue>>[]>;
}

/**
 * What a statement takes and a query gives. Which of these, the database decides: SQLite knows the first five; PostgreSQL
 * all but gives 64-bit integers and numerics as text.
 */
export type SqlValue =
  | string
  | number
  | bigint
  | null
  | Uint8Array
  | boolean
  | Date
  | readonly SqlValue[]
  | { readonly [name: string]: SqlValue };

/** An async handler: durable, after commit, retried. What it returns answers a `request`. */
export type Handler<Data = unknown, Response = unknown, Type extends string = string> = (
  event: Event<Data, Type>,
  context: HandlerContext,
) => Response | Promise<Response>;

/** An async handler of several events at once, in the order the strategy asks for. If it throws, its events are tried one by one. */
export type BatchHandler<Data = unknown, Type extends string = string> = (
  events: readonly Event<Data, Type>[],
  context: HandlerContext,
) => unknown;

/** What a sync handler is given beside its event. */
export interface SyncContext {
  /** The handler's name, `module.handler`. */
  readonly handler: string;
  /** Whether the event is being published or only emitted. */
  readonly mode: 'publish' | 'emit';
  readonly log: Logger;
  /** Adds an event to the same atomic batch (G8). While emitting: `CARILLON_EMIT_PUBLISH`. */
  publish(event: Event): void;
}

/**
 * A sync handler: runs inside `publish`, before the event is durable, in the order of declaration. A throw refuses the
 * event with `CARILLON_REFUSED`. It may be async; all of them together get `limits.syncBudgetMs`.
 */
export type SyncHandler<Data = unknown, Type extends string = string, Response = unknown> = (
  event: Event<Data, Type>,
  context: SyncContext,
) => Response | Promise<Response>;
