import type { Clock, Limits, Logger, SqlValue, StartFrom, TransactionClient } from '../../core/index.ts';
import type { Capabilities } from '../engine.ts';
import type { Answer, Arrangement, HeldKeyCount, Sharing } from './sharing.ts';
import type { DeliveryRow, DeliveryState, EventRow, ScheduledRow } from './stored.ts';

/**
 * What a log engine's storage must do: keep a log with positions, the state of subscriptions beside it, and commit
 * changes to both in one step. Everything else that makes an engine of it (group commit, hand-out, retries, held
 * keys, schedule) is written once, in this folder, above it.
 *
 * One process writes at a time, and `open` sees to that, or several share the log by {@link Sharing}. Commits are
 * applied in the order of their calls, and a second one may be sent while the first is under way. When one fails, those
 * sent after it and of the same `generation` fail too, unapplied: they were made on the belief that it would succeed.
 */
export interface LogStore {
  readonly name: string;
  readonly capabilities: Pick<Capabilities, 'durable' | 'transactions'>;
  /** Null where one process has the log for itself. */
  readonly sharing: Sharing | null;
  /** Null without the capability `outbox`. */
  readonly outbox: Outbox | null;
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
  heldKeys(subscription: number): Promise<readonly HeldKeyCount[]>;
  deliveryCounts(subscription: number): Promise<{ readonly held: number; readonly dead: number }>;
  /** Scheduled events due at or before `ms`, the earliest first, and when the next one after them is due. */
  readDue(
    ms: number,
    limit: number,
  ): Promise<{ readonly due: readonly ScheduledRow[]; readonly nextMs: number | null }>;
  /**
   * Begins an interactive transaction: the one there can be, for whose end commits wait; or, where the log is shared,
   * one beside others and beside commits.
   */
  begin(timeoutMs: number): Promise<StoreTransaction>;
  /** The engine writes what it still has, and closes then: nothing may keep it waiting for ever any more. */
  prepareToClose?(): void;
  close(): Promise<void>;
}

/** Events that become part of a transaction of the application's own. */
export interface Outbox {
  /** @param dueMs null: appended as soon as may be after the transaction's commit, in the order of such calls */
  append(tx: TransactionClient, rows: readonly EventRow[], dueMs: number | null): Promise<void>;
}

export interface StoreHost {
  readonly limits: Limits;
  readonly log: Logger;
  readonly clock: Clock;
  /** The store cannot go on. */
  onFailure(error: Error): void;
  onStorageFull(full: boolean): void;
  /**
   * The database cannot be used (it is away, full, or only reads), for this reason, or can be again. Calls made meanwhile
   * wait for it.
   */
  onUnreachable(reason: Error | null): void;
}

export interface StoreOpened {
  readonly first: number;
  readonly last: number;
  readonly lastRecordedMs: number;
  /** When the earliest scheduled event is due. */
  readonly nextDueMs: number | null;
}

export interface StoreQuery {
  /** Positions after this one. */
  readonly after: number;
  readonly upTo: number;
  readonly type?: string | undefined;
  readonly subject?: string | undefined;
  /** Only events of these slots; only where the log is shared. */
  readonly slots?: readonly number[] | undefined;
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

export interface DeliveryQuery {
  readonly subscription?: number | undefined;
  readonly subscriptionName?: string | undefined;
  readonly states: readonly DeliveryState[];
  /** Only this key's. */
  readonly key?: string;
  /** Only of these slots. */
  readonly slots?: readonly number[] | undefined;
  readonly positions?: readonly number[];
  readonly after?: number;
  readonly limit: number;
  readonly withEvents: boolean;
}

/** Everything of one commit: all of it becomes durable together, but for units that are refused by themselves. */
export interface CommitBatch {
  readonly generation: number;
  readonly recordedMs: number;
  readonly units: readonly StoreUnit[];
  /** How many events, of the first units, are joined with acknowledgements: never refused for want of room. */
  readonly joined: number;
  readonly states: readonly StateWrite[];
  readonly put: readonly DeliveryRow[];
  readonly remove: readonly { readonly subscription: number; readonly position: number }[];
  readonly schedule: readonly { readonly event: EventRow; readonly dueMs: number }[];
  readonly unschedule: readonly { readonly source: string; readonly id: string }[];
  /** Only where the log is shared. No other place of these subscriptions is in this batch. */
  readonly arrangements: readonly Arrangement[];
  /** Only where the log is shared: what members wait for. */
  readonly answers: readonly Answer[];
}

/** A commit of nothing: what one with something to say is made from. */
export const emptyBatch: CommitBatch = {
  generation: 0,
  recordedMs: 0,
  units: [],
  joined: 0,
  states: [],
  put: [],
  remove: [],
  schedule: [],
  unschedule: [],
  arrangements: [],
  answers: [],
};

/** A place in the log, to be written. */
export interface StateWrite {
  readonly subscription: number;
  /** 0 where the log is not shared. */
  readonly share: number;
  /** Rises with each place of a share: the newest one counts, whichever was written last. */
  readonly version: number;
  readonly state: Uint8Array;
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
  /**
   * Where the log is shared: the last position before those of this commit, and the moment they were recorded at, which
   * is never before that of an earlier position. Null where nobody else appends.
   */
  readonly amidOthers: { readonly before: number; readonly recordedMs: number } | null;
  readonly refused: readonly RefusedUnit[];
  /** For each scheduled event: null when it was taken, else the position (or 0 while scheduled) of the first one of that id. */
  readonly scheduled: readonly ({ readonly position: number; readonly dueMs: number } | null)[];
  readonly unscheduled: readonly boolean[];
  /** For each arrangement the number of the share that is kept; null for none. */
  readonly arranged: readonly (number | null)[];
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
