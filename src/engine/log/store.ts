import type { AttemptRecord, Limits, Logger, Clock, SqlValue, StartFrom } from '../../core/index.ts';
import type { Capabilities } from '../engine.ts';

/**
 * What a log engine's storage must do: keep a log with positions, the state of subscriptions beside it, and commit
 * changes to both in one step. Everything else that makes an engine of it (group commit, hand-out, retries, held
 * keys, schedule) is written once, in this folder, above it.
 *
 * One process writes at a time; `open` sees to that. Commits are applied in the order of their calls, and a second
 * one may be sent while the first is under way. When one fails, those sent after it and of the same `generation` fail
 * too, unapplied: they were made on the belief that it would succeed.
 */
export interface LogStore {
  readonly name: string;
  readonly capabilities: Capabilities;
  open(host: StoreHost): Promise<StoreOpened>;
  commit(batch: CommitBatch): Promise<CommitResult>;
  /** Rows in order of position. */
  read(query: StoreQuery): Promise<StoreRows>;
  /** The first position whose event was recorded at or after `ms`; one past the last when there is none. */
  positionAt(ms: number): Promise<number>;
  /** Finds the subscription, or makes it at that position. */
  openSubscription(name: string, from: StartFrom): Promise<StoredSubscription>;
  subscriptionNames(): Promise<readonly string[]>;
  readDeliveries(query: DeliveryQuery): Promise<readonly DeliveryRow[]>;
  /** Keys held back by a dead delivery, or with deliveries held on disk. */
  heldKeys(
    subscription: number,
  ): Promise<readonly { readonly key: string; readonly held: number; readonly holding: number }[]>;
  deliveryCounts(subscription: number): Promise<{ readonly held: number; readonly dead: number }>;
  /** Scheduled events due at or before `ms`, the earliest first, and when the next one after them is due. */
  readDue(
    ms: number,
    limit: number,
  ): Promise<{ readonly due: readonly ScheduledRow[]; readonly nextMs: number | null }>;
  /** Begins the one interactive transaction; commits wait for its end. */
  begin(timeoutMs: number): Promise<StoreTransaction>;
  close(): Promise<void>;
}

export interface StoreHost {
  readonly limits: Limits;
  readonly log: Logger;
  readonly clock: Clock;
  /** The store cannot go on. */
  onFailure(error: Error): void;
  onStorageFull(full: boolean): void;
}

export interface StoreOpened {
  readonly first: number;
  readonly last: number;
  readonly lastRecordedMs: number;
  /** When the earliest scheduled event is due. */
  readonly nextDueMs: number | null;
}

/** An event as it lies in the log. */
export interface EventRow {
  readonly position: number;
  readonly recordedMs: number;
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string | null;
  readonly time: string | null;
  /** JSON object of the other attributes; null when there are none. */
  readonly attributes: string | null;
  readonly data: string | Uint8Array | null;
}

export interface StoreQuery {
  /** Positions after this one. */
  readonly after: number;
  readonly upTo: number;
  readonly type?: string | undefined;
  readonly subject?: string | undefined;
  readonly limit: number;
  /** Positions to look at before returning what was found. */
  readonly scanMax: number;
}

export interface StoreRows {
  readonly rows: readonly EventRow[];
  /** Every position up to here has been looked at. */
  readonly scannedTo: number;
}

export interface StoredSubscription {
  readonly no: number;
  /** As `commit` was given it; null for a new one, which starts after `start`. */
  readonly state: Uint8Array | null;
  readonly start: number;
}

export type DeliveryState = 'retrying' | 'begun' | 'held' | 'dead';

/** A delivery that did not go well the first time, and so has a row of its own. */
export interface DeliveryRow {
  readonly subscription: number;
  /** Filled by reads. */
  readonly subscriptionName?: string;
  readonly position: number;
  readonly state: DeliveryState;
  readonly key: string | null;
  readonly attempts: number;
  /** `retrying`: when it is due; `dead`: since when it is. */
  readonly atMs: number;
  /** Whether a dead one holds back its key. */
  readonly holds: boolean;
  readonly records: readonly AttemptRecord[];
  /** Data edited on redrive, for this subscription only. */
  readonly data: string | null;
  /** The event; filled by reads that ask for it. */
  readonly event?: EventRow | undefined;
}

export interface DeliveryQuery {
  readonly subscription?: number | undefined;
  readonly subscriptionName?: string | undefined;
  readonly states: readonly DeliveryState[];
  /** Only this key's. */
  readonly key?: string;
  readonly positions?: readonly number[];
  readonly after?: number;
  readonly limit: number;
  readonly withEvents: boolean;
}

export interface ScheduledRow {
  readonly no: number;
  readonly dueMs: number;
  readonly event: EventRow;
}

/** Everything of one commit: all of it becomes durable together, but for units that are refused by themselves. */
export interface CommitBatch {
  readonly generation: number;
  readonly recordedMs: number;
  readonly units: readonly StoreUnit[];
  /** How many events, of the first units, are joined with acknowledgements: never refused for want of room. */
  readonly joined: number;
  readonly states: readonly { readonly subscription: number; readonly state: Uint8Array }[];
  readonly put: readonly DeliveryRow[];
  readonly remove: readonly { readonly subscription: number; readonly position: number }[];
  readonly schedule: readonly { readonly event: EventRow; readonly dueMs: number }[];
  readonly unschedule: readonly { readonly source: string; readonly id: string }[];
}

/** An atomic append. */
export interface StoreUnit {
  readonly rows: readonly NewRow[];
  readonly expectedRevision: number | 'none' | undefined;
  readonly subject: string | null;
  /** Appended only if this scheduled event is still there, and in its place. */
  readonly scheduled: number | undefined;
}

/** An event on its way into the log: `position` and `recordedMs` mean nothing yet. */
export type NewRow = EventRow;

export interface CommitResult {
  /** For every row of every unit in order: its position; negative when it was a duplicate of that position; 0 when its unit was refused. */
  readonly positions: Float64Array;
  readonly refused: readonly RefusedUnit[];
  /** For each scheduled event: null when it was taken, else the position (or 0 while scheduled) of the first one of that id. */
  readonly scheduled: readonly ({ readonly position: number; readonly dueMs: number } | null)[];
  readonly unscheduled: readonly boolean[];
}

export interface RefusedUnit {
  readonly unit: number;
  /** The subject's last position, 0 for none; or that the scheduled event was taken back. */
  readonly reason: { readonly kind: 'revision'; readonly actual: number } | { readonly kind: 'cancelled' };
}

/** The store's side of an interactive transaction. */
export interface StoreTransaction {
  run(sql: string, parameters: readonly SqlValue[]): Promise<{ readonly changes: number }>;
  all(sql: string, parameters: readonly SqlValue[]): Promise<readonly Readonly<Record<string, SqlValue>>[]>;
  /** Applies the batch inside and commits. */
  commit(batch: CommitBatch): Promise<CommitResult>;
  rollback(): Promise<void>;
}
