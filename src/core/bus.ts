import type { AnyEventDefinition, DefinedEvent, EventDefinition } from './define.ts';
import type { Event, StoredEvent } from './event.ts';
import type { Filter } from './filter.ts';
import type { BatchHandler, Handler, SyncHandler } from './handler.ts';
import type { Strategy } from './strategy.ts';

/** How one publish differs from the default. */
export interface PublishOptions {
  /**
   * The position of the last event of this event's subject as the writer knows it, or `'none'` for a subject without
   * events (G5). Otherwise: `CARILLON_REVISION_CONFLICT`. A publish repeated with the same id still succeeds.
   */
  readonly expectedRevision?: number | 'none';
  /** Publishes after this many ms, durably (G10). */
  readonly delayMs?: number;
  /** Publishes at this moment: a Date, ms since the Unix epoch, or RFC 3339 text. A past moment means now. */
  readonly at?: Date | number | string;
  /**
   * The client of a transaction of the application's own: the event is published if that commits, and only then (the
   * transactional outbox). `publish` resolves once it is part of the transaction; its `position` is null, since the log
   * takes it after the commit, and a duplicate is found out only then. Engines without an outbox refuse it:
   * `CARILLON_UNSUPPORTED`; so do they `expectedRevision` beside it: `CARILLON_OPTION_INVALID`. What the database says of
   * a transaction that is over or broken: `CARILLON_TRANSACTION_FAILED`.
   */
  readonly tx?: TransactionClient;
}

/** What of a database client is used in whose transaction an event is published. A client of `pg` is one. */
export interface TransactionClient {
  query(text: string, values?: unknown[]): Promise<unknown>;
}

/** What `publish` resolves with, once the event is durable (G1). */
export interface Published {
  readonly id: string;
  /** The event's place in the log; null while it is scheduled, and when a transaction of the application's publishes it. */
  readonly position: number | null;
  /** Whether `(source, id)` was there before: nothing was stored now (G4). */
  readonly duplicate: boolean;
  /** When a scheduled event is due, ms since the Unix epoch. */
  readonly scheduledMs: number | null;
}

/** Where a new subscription starts (G6). It decides only the first time: afterwards the subscription goes on where it was. */
export type StartFrom = 'beginning' | 'now' | { readonly position: number } | { readonly timeMs: number };

/** How a handler is subscribed. Strategy options stand beside the others. */
export interface HandlerOptions extends Strategy {
  /** The handler's name within its module. Default: the function's name, else the event type. */
  readonly name?: string;
  /** Default `now`: what is published from its first start on. */
  readonly from?: StartFrom;
  /** Only events that pass are delivered. */
  readonly filter?: Filter | readonly Filter[];
  /** Hands the handler the engine's transaction as `context.tx`. Engines without one refuse it: `CARILLON_UNSUPPORTED`. */
  readonly transaction?: boolean;
}

/** How a sync handler is declared. */
export interface SyncHandlerOptions {
  readonly name?: string;
  readonly filter?: Filter | readonly Filter[];
}

/** What a handler may ask for: a definition, several, a type, or a pattern (`*` one token, `>` the rest). */
export type Target = AnyEventDefinition | readonly AnyEventDefinition[] | string;

type DefinedData<T> = T extends EventDefinition<infer _T, infer D, infer _I, infer _R> ? D : unknown;
type DefinedType<T> = T extends EventDefinition<infer Y, infer _D, infer _I, infer _R> ? Y : string;
type DefinedResponse<T> = T extends EventDefinition<infer _T, infer _D, infer _I, infer R> ? R : unknown;
type One<T> = T extends readonly (infer D)[] ? D : T;

/** The handler that fits a target: data, type and response are the definition's. */
export type HandlerFor<T> = Handler<DefinedData<One<T>>, DefinedResponse<One<T>>, DefinedType<One<T>>>;
export type BatchHandlerFor<T> = BatchHandler<DefinedData<One<T>>, DefinedType<One<T>>>;
export type SyncHandlerFor<T> = SyncHandler<DefinedData<One<T>>, DefinedType<One<T>>>;

/** What to read of the log. All given conditions must hold. */
export interface ReadQuery {
  /** Events after this position. Default 0: from the beginning. */
  readonly after?: number;
  /** Events up to and with this position. */
  readonly upTo?: number;
  /** An event type or a pattern. */
  readonly type?: string;
  readonly subject?: string;
  /** Events the log took at or after this moment, ms since the Unix epoch. */
  readonly sinceMs?: number;
  /** Events the log took before this moment. */
  readonly untilMs?: number;
  readonly filter?: Filter | readonly Filter[];
  /** The most events to return. Default 100 for a page, no bound for `read`. */
  readonly limit?: number;
}

export interface Page {
  readonly events: readonly StoredEvent[];
  /** Ask again with `after: next` for more; null when the end of the log was reached. */
  readonly next: number | null;
}

/** One failed attempt, as a dead letter tells it. */
export interface AttemptRecord {
  readonly attempt: number;
  /** When the attempt ended, ms since the Unix epoch. */
  readonly atMs: number;
  readonly durationMs: number;
  /** Which process made it: host and pid. */
  readonly worker: string;
  readonly error: { readonly name: string; readonly message: string; readonly code?: string; readonly stack?: string };
}

/** A delivery that is dead: every attempt failed, or the handler gave it up (G7). */
export interface DeadLetter {
  readonly subscription: string;
  readonly position: number;
  readonly key: string | null;
  readonly deadMs: number;
  /** Attempts made in all; `attempts` keeps the first and the last ones of them. */
  readonly attemptCount: number;
  readonly attempts: readonly AttemptRecord[];
  /** Whether later events of the key wait behind it. */
  readonly holds: boolean;
  readonly event: Event;
}

/** Which dead letters: all of a subscription, or those at these positions. */
export interface DeadLetterSelection {
  readonly subscription: string;
  readonly positions?: readonly number[];
}

export interface DeadLetters {
  list(query?: { subscription?: string; after?: number; limit?: number }): Promise<readonly DeadLetter[]>;
  get(subscription: string, position: number): Promise<DeadLetter>;
  /**
   * Delivers again, attempts counted from 1, the record kept. With `data`, the subscription sees that data instead, once
   * the schema of the event's type has let it through; the log is not changed. Returns how many. Fails with
   * `CARILLON_DEAD_LETTER_UNKNOWN` when a named one is not there, `CARILLON_DATA_INVALID`.
   */
  redrive(selection: DeadLetterSelection, edit?: { readonly data: unknown }): Promise<number>;
  /** Forgets them for good; what they held goes on. */
  discard(selection: DeadLetterSelection): Promise<number>;
}

/** How one subscription stands. */
export interface SubscriptionState {
  readonly name: string;
  readonly target: string;
  readonly description: string | undefined;
  readonly strategy: Strategy;
  /** All positions up to here have been looked at. */
  readonly position: number;
  /** Positions of the log behind which it stands. */
  readonly lag: number;
  readonly running: number;
  /** In memory, waiting for their lane. */
  readonly waiting: number;
  readonly retrying: number;
  /** On disk, behind a key that is held back. */
  readonly held: number;
  readonly dead: number;
  readonly handled: number;
  readonly failed: number;
  readonly expired: number;
  /** Whether it has stopped reading because too many keys are held back (`limits.blockedKeysMax`). */
  readonly stalled: boolean;
}

/** What the bus tells those who observe it. Observers must not throw and are not waited for. */
export type Observation =
  /** By `publish` or `request`; what handlers publish shows when it is delivered. */
  | { readonly kind: 'published'; readonly event: Event; readonly position: number }
  | {
      readonly kind: 'delivery-start';
      readonly subscription: string;
      readonly stored: StoredEvent;
      readonly attempt: number;
    }
  | {
      readonly kind: 'delivery-end';
      readonly subscription: string;
      readonly stored: StoredEvent;
      readonly attempt: number;
      readonly outcome: 'handled' | 'retried' | 'dead' | 'expired';
      readonly durationMs: number;
      /** From the moment the log took the event, ms. */
      readonly latencyMs: number;
      readonly error?: Error;
    }
  | { readonly kind: 'engine-failed'; readonly error: Error }
  | { readonly kind: 'storage-full'; readonly full: boolean };

export interface BusHealth {
  readonly status: 'starting' | 'ready' | 'degraded' | 'failed' | 'stopping' | 'stopped';
  readonly engine: string;
  /** Why the status is not `ready`. */
  readonly reasons: readonly string[];
  readonly modules: Readonly<Record<string, { readonly healthy: boolean; readonly detail?: string }>>;
}

/** A handler subscribed on a running bus. */
export interface SubscriptionHandle {
  readonly name: string;
  /** Lets the attempts in hand end, then stops delivering. The durable place is kept. */
  stop(): Promise<void>;
}

/** The bus an application talks to: embedded in its process, or (later) a remote one behind the same interface. */
export interface Bus {
  /**
   * Resolves once the event is durable (G1). A batch is atomic (G5). Repeat with the same id when in doubt (G4).
   * Fails with `CARILLON_REFUSED`, `CARILLON_DATA_INVALID`, `CARILLON_REVISION_CONFLICT`, `CARILLON_OVERLOADED`
   * (retryable), `CARILLON_STORAGE_FULL` (retryable), `CARILLON_ENGINE_FAILED`, `CARILLON_STOPPED`.
   */
  publish(event: Event, options?: PublishOptions): Promise<Published>;
  publish(events: readonly Event[], options?: PublishOptions): Promise<readonly Published[]>;
  /** Takes back an event scheduled and not yet due. Whether there was one. */
  cancelScheduled(source: string, id: string): Promise<boolean>;
  /**
   * The in-process half alone: sync handlers run in declared order, nothing is stored, async handlers see nothing (G8).
   * Returns undefined, or a promise when one of the handlers was asynchronous. What a handler throws is thrown.
   */
  emit(event: Event): void | Promise<void>;
  /**
   * Publishes and resolves with the handler's answer (G11). Fails with `CARILLON_NO_RESPONDER` at once when no handler
   * asks for this type, `CARILLON_REQUEST_TIMEOUT`, or `CARILLON_REQUEST_FAILED` when the delivery is dead.
   */
  request<Response>(event: DefinedEvent<unknown, string, Response>, options?: RequestOptions): Promise<Response>;
  /** Subscribes a durable handler on the running bus. `name` in the options is required: it is the durable place. */
  subscribe<const T extends Target>(
    target: T,
    handler: HandlerFor<T>,
    options: HandlerOptions & { readonly name: string },
  ): Promise<SubscriptionHandle>;
  /** The log in order, page by page as it is consumed; ends at the end of the log. */
  read(query?: ReadQuery): AsyncIterable<StoredEvent>;
  /** One page of the log. Looks at no more than `limits.scanMax` positions. */
  readPage(query?: ReadQuery): Promise<Page>;
  /** The log from a position on, without end: what is there, then what comes. For streams to clients. */
  follow(query: ReadQuery, signal: AbortSignal): AsyncIterable<StoredEvent>;
  readonly deadLetters: DeadLetters;
  /** How each subscription stands. */
  subscriptions(): Promise<readonly SubscriptionState[]>;
  /** First and last position in the log; both 0 while it is empty. */
  ends(): Promise<{ readonly first: number; readonly last: number }>;
  observe(observer: (observation: Observation) => void): () => void;
  health(): Promise<BusHealth>;
  /** Resolves when every subscription has handled all that is in the log now, but for retries and dead letters. */
  drain(options?: { readonly deadlineMs?: number }): Promise<void>;
  /**
   * Stops for good, in reverse order of the start: takes no more publishes, lets attempts in hand end, closes the
   * modules and the engine (G12). Attempts that outlast `deadlineMs` (default 10,000) are aborted and
   * `CARILLON_DRAIN_TIMEOUT` is thrown after everything is closed.
   */
  stop(options?: { readonly deadlineMs?: number }): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface RequestOptions {
  /** Default 30,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}
