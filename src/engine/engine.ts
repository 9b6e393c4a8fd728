import type {
  AttemptRecord,
  DeadLetter,
  DeadLetterSelection,
  Event,
  Limits,
  Logger,
  Clock,
  Order,
  Page,
  Published,
  StartFrom,
  Transaction,
  TransactionClient,
} from '../core/index.ts';

/**
 * The port: what an engine owes the dispatcher and the bus. An engine stores events and hands out deliveries of them;
 * it knows nothing of handlers, lanes, time-outs or backoff, which the dispatcher does above the port, once, for all
 * engines. It speaks of appending, of durable subscriptions that hand out deliveries under a lease, and of settling
 * them, so that an embedded file, a shared database and a broker with consumers of its own all fit.
 *
 * An engine never throws anything but errors of the catalogue, and its methods may be called in any order and
 * concurrently. After {@link EngineEvents.onFailure} every call fails with `CARILLON_ENGINE_FAILED`.
 */
export interface Engine {
  /** As shown to people: `memory`, `sqlite`. */
  readonly name: string;
  readonly capabilities: Capabilities;

  /**
   * Makes the engine ready: locks, migrates, recovers. Called once, before anything else. Fails with
   * `CARILLON_DIRECTORY_LOCKED`, `CARILLON_STORAGE_VERSION`, `CARILLON_STORAGE_CORRUPT`, `CARILLON_STORAGE_ACCESS`.
   */
  open(host: EngineHost): Promise<void>;

  /**
   * Appends the unit's events in order, all or none, and resolves when they are as durable as the engine promises
   * (G1, G5). An event whose `(source, id)` is stored already is not stored again; its result carries the first one's
   * position (G4). The order in which `append` is called is the order of positions.
   * Fails with `CARILLON_REVISION_CONFLICT`, `CARILLON_STORAGE_FULL`, `CARILLON_ENGINE_FAILED`; then nothing of the
   * unit is stored, or (ENGINE_FAILED only) it is unknown and may be repeated.
   */
  append(unit: AppendUnit): Promise<readonly Published[]>;
  /** The same for one event: the hot path, without a list around it. */
  appendOne(encoded: EncodedEvent, expectedRevision: number | 'none' | undefined): Promise<Published>;

  /** Keeps an event to be appended at `dueMs` (G10). Deduplicated like an append, against the log and the schedule. */
  schedule(entry: EncodedEvent, dueMs: number): Promise<Published>;
  cancelScheduled(source: string, id: string): Promise<boolean>;

  /**
   * Adds the events to a transaction of the application's own: appended once that commits, in the order of such calls, or
   * scheduled for `dueMs`. Engines without the capability `outbox` fail with `CARILLON_UNSUPPORTED`.
   */
  appendWithin(tx: TransactionClient, events: readonly EncodedEvent[], dueMs: number | null): Promise<void>;

  /** One page of the log; looks at no more than `limits.scanMax` positions. `CARILLON_GAP` below the first position. */
  readPage(query: EngineQuery): Promise<Page>;
  ends(): Promise<{ readonly first: number; readonly last: number }>;
  /** Calls back after events were appended, with the last position. Coalesced; a hint, not a promise. */
  onAppend(listener: (last: number) => void): () => void;

  /** Opens the durable subscription of that name, making it at `from` the first time. One opener at a time per process. */
  subscribe(spec: SubscriptionSpec): Promise<EngineSubscription>;
  /** Every durable subscription the engine knows, running or not. */
  subscriptionNames(): Promise<readonly string[]>;
  /** Subscriptions that run in other processes and respond to this type; none where the engine is not shared. */
  respondersElsewhere(type: string): Promise<readonly string[]>;

  readonly deadLetters: EngineDeadLetters;

  /** Resolves when all that was settled before the call is durable. */
  flush(): Promise<void>;
  /** Releases everything, after a {@link flush} unless the engine has failed. Safe to call twice. */
  close(): Promise<void>;
}

/** What an engine declares. The conformance suite asserts the documented refusal of what is absent; it never skips. */
export interface Capabilities {
  /** Whether acknowledged events survive the end of the process. Without it G1 holds for the life of the process. */
  readonly durable: boolean;
  /** Whether a handler may write to the same database in one commit with its acknowledgement (G12). */
  readonly transactions: boolean;
  /** Whether several processes may open it at the same place, and share its subscriptions. */
  readonly shared: boolean;
  /** Whether an event may be published within a transaction of the application's own. */
  readonly outbox: boolean;
}

/** What an engine is given by the bus that opens it. */
export interface EngineHost {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Logger;
  /** The engine has failed for good: a failed fsync, a lost lock. Called at most once. */
  onFailure(error: Error): void;
  /** The storage is full, or has room again. */
  onStorageFull(full: boolean): void;
  /**
   * The database cannot be used (it is away, full, or only reads), for this reason, or can be again. Nothing is lost
   * meanwhile, and nothing goes on.
   */
  onUnreachable(reason: Error | null): void;
  /** Another process has handled, or will never handle, an event that was appended here with `asks`. */
  onAnswer(answered: AnsweredElsewhere): void;
}

/** What came of a request in another process. */
export interface AnsweredElsewhere {
  readonly source: string;
  readonly id: string;
  /** Whose handler it was. */
  readonly subscription: string;
  readonly outcome: Outcome;
}

/** What a handler made of an event: what it returned, or why it will never handle it. */
export type Outcome = { readonly value: unknown } | { readonly error: Error };

/** An event as engines take it: the envelope, and its data as it is stored. */
export interface EncodedEvent {
  readonly event: Event;
  /** JSON text of `data`; the bytes themselves for binary data; null when there is no data. */
  readonly data: string | Uint8Array | null;
}

/** Events that are appended together or not at all. */
export interface AppendUnit {
  readonly events: readonly EncodedEvent[];
  /** Checked against the subject of the first event (G5). */
  readonly expectedRevision?: number | 'none' | undefined;
  /** Whether an answer to the first event is waited for here: it is a request's. */
  readonly asks?: boolean | undefined;
}

/** A read, with patterns and filters as a predicate. */
export interface EngineQuery {
  readonly after: number;
  readonly upTo?: number | undefined;
  /** An exact type, where the engine can use it to find events faster. `matches` holds in any case. */
  readonly type?: string | undefined;
  readonly subject?: string | undefined;
  readonly sinceMs?: number | undefined;
  readonly untilMs?: number | undefined;
  readonly matches?: ((event: Event) => boolean) | undefined;
  readonly limit: number;
}

export interface SubscriptionSpec {
  readonly name: string;
  readonly from: StartFrom;
  /** Whether the subscription asks for events of this type. Pure and fast: asked for every event. */
  readonly wantsType: (type: string) => boolean;
  /** Its filters, asked after the type; null when it has none. */
  readonly passes: ((event: Event) => boolean) | null;
  /** `key`: what a key's failing event holds back is held back by the engine too. `total`: one key for all. */
  readonly order: Order;
  /** Whether a dead delivery holds back its key. */
  readonly hold: boolean;
  /** Types it answers requests of. Told to other processes, where there are some. */
  readonly responds: readonly string[];
}

/**
 * A delivery: one event handed to one subscription under a lease. Its states, as the engine keeps them:
 *
 * - `handed`: given to the dispatcher, no attempt counted. A crash hands it out again as if nothing had been.
 * - `begun`: an attempt is counted, durably, before the dispatcher may run the handler. A crash hands it out again
 *   with that attempt counted (G2).
 * - `retrying`: settled with `retry`; handed out again as begun once `dueMs` has come.
 * - `held`: waits, on disk, behind an earlier delivery of its key that is retrying, or dead and holding.
 * - end states: `acked`, `dead` (kept), `dropped` (expired, discarded, or dead and not kept).
 *
 * handed → begun → acked | retrying | dead | dropped; handed → held | dropped; retrying → begun; held → handed;
 * begun → handed (released: the attempt never ran); dead → retrying (redrive) | dropped (discard). Anything else is refused with `CARILLON_LEASE_LOST`.
 */
export interface Delivery {
  readonly position: number;
  readonly recordedMs: number;
  readonly key: string | null;
  /** Attempts counted so far, the one now begun included. */
  readonly attempts: number;
  /** Whether the attempt may run now, without {@link EngineSubscription.begin}. */
  readonly begun: boolean;
  /** The event, with data of its own: no two deliveries share an object. */
  readonly event: Event;
  /** What is known of the attempts that failed. */
  readonly records: readonly AttemptRecord[];
  /** Whether it may be a request's, made in another process: then tell the {@link EngineSubscription.answer}. */
  readonly asked: boolean;
}

export type Settlement =
  | { readonly type: 'ack' }
  | { readonly type: 'retry'; readonly dueMs: number; readonly record: AttemptRecord }
  | { readonly type: 'dead'; readonly record: AttemptRecord | null; readonly keep: boolean }
  | { readonly type: 'expired' }
  /** Gives back a delivery not begun: it waits behind its key. Only after an earlier one of the key was settled with retry or dead. */
  | { readonly type: 'held' }
  /** Gives back a delivery whose attempt never ran, uncounted, because the process is stopping. */
  | { readonly type: 'released' };

/** How many deliveries the dispatcher can take. */
export interface Demand {
  /** The most deliveries to hand out. */
  readonly max: number;
  /** Of these, the first so many may be counted as begun, because their handlers can start at once. */
  readonly begun: number;
}

/**
 * Who holds the deliveries of a subscription under their lease. Told only where several processes share the
 * subscription, and deliveries may have to be handled elsewhere.
 */
export interface LeaseHolder {
  /** These are to be handled elsewhere: those whose attempt has not begun are settled as `released` at once; the others end first. */
  release(wanted: (delivery: Delivery) => boolean): void;
  /** All of them are handled elsewhere already: attempts are aborted, and settle nothing. */
  lost(): void;
  /** The lease is sure again, after it was not: see {@link EngineSubscription.leased}. */
  renewed(): void;
}

/** A durable subscription, opened. */
export interface EngineSubscription {
  /** Names who holds its deliveries. Before the first pull. */
  hold(holder: LeaseHolder): void;
  /**
   * Whether the lease is sure: no attempt may start while it is not. False when it could not be renewed in time, so that
   * another process may have it already.
   */
  readonly leased: boolean;
  /**
   * Hands deliveries to `take`, in publish order, retries when due: at least one, at most `demand.max`; waits while
   * there is none. Calls `take` once, and in the very step in which it looks at what is held back, so that no delivery
   * of a held key slips through between. Resolves after that, or without having called when closed. One call at a time.
   */
  pull(demand: Demand, take: (deliveries: readonly Delivery[]) => void): Promise<void>;
  /** Counts an attempt for each, durably. Their handlers may run once it resolves. */
  begin(deliveries: readonly Delivery[]): Promise<void>;
  /**
   * Ends the lease. Returns at once; written with the next commit (an ack within `limits.ackLingerMs`). A delivery
   * whose lease is lost is refused with `CARILLON_LEASE_LOST`.
   */
  settle(delivery: Delivery, settlement: Settlement): void;
  /** Acknowledges and appends in one commit: both or neither. Rejects as `append` does, and then nothing is settled. */
  settleWith(deliveries: readonly Delivery[], units: readonly AppendUnit[]): Promise<void>;
  /**
   * Begins the engine's transaction for these deliveries: they are acknowledged when it commits.
   * Engines without the capability fail with `CARILLON_UNSUPPORTED`.
   */
  transaction(deliveries: readonly Delivery[]): Promise<EngineTransaction>;
  /** Tells the process that asked what came of its request, if another one did; JSON can say it, or it is an error. */
  answer(delivery: Delivery, outcome: Outcome): void;
  /** Resolves once every position up to this one has been looked at, and what was handed out of it is settled. */
  caughtUp(position: number): Promise<void>;
  /** Counts for people. */
  state(): Promise<EngineSubscriptionState>;
  /** Ends the leases that are left without a result, durably, and hands out nothing more. */
  close(): Promise<void>;
}

/** The engine's transaction around one attempt. Ends exactly once, by commit or rollback. */
export interface EngineTransaction extends Transaction {
  /** Commits the statements, these events and the acknowledgements together. */
  commit(units: readonly AppendUnit[]): Promise<void>;
  rollback(): Promise<void>;
}

export interface EngineSubscriptionState {
  /** Every position up to here has been looked at. */
  readonly position: number;
  readonly last: number;
  /** Handed out and not settled. */
  readonly open: number;
  readonly retrying: number;
  readonly held: number;
  readonly dead: number;
  /** Whether it has stopped reading because too much is held back. */
  readonly stalled: boolean;
}

export interface EngineDeadLetters {
  list(query: {
    readonly subscription: string | undefined;
    readonly after: number;
    readonly limit: number;
  }): Promise<readonly DeadLetter[]>;
  get(subscription: string, position: number): Promise<DeadLetter | null>;
  /** Returns the positions redriven. @param data JSON text that replaces the event's data, for this subscription only */
  redrive(selection: DeadLetterSelection, data: string | undefined): Promise<readonly number[]>;
  discard(selection: DeadLetterSelection): Promise<readonly number[]>;
}
