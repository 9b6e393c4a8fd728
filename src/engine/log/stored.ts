import type { AttemptRecord } from '../../core/index.ts';

// What lies in a log store, row by row.

/** An event as it lies in the log. */
export interface EventRow {
  readonly position: number;
  readonly recordedMs: number;
  /** Of its key, or of its id when it has none; 0 where the log is not shared. */
  readonly slot: number;
  /** The process that waits for an answer (`Sharing.asker`); null for nobody. Only where the log is shared. */
  readonly askedBy: number | null;
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string | null;
  readonly time: string | null;
  /** JSON object of the other attributes; null when there are none. */
  readonly attributes: string | null;
  readonly data: string | Uint8Array | null;
}

/**
 * `acked`: acknowledged by a transaction of its own, beside commits that had it as open. The row stands against those
 * until a place is written that has it settled.
 */
export type DeliveryState = 'retrying' | 'begun' | 'held' | 'dead' | 'acked';

/** A delivery that did not go well the first time, and so has a row of its own. */
export interface DeliveryRow {
  readonly subscription: number;
  /** Filled by reads. */
  readonly subscriptionName?: string;
  readonly position: number;
  readonly slot: number;
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

export interface ScheduledRow {
  readonly no: number;
  readonly dueMs: number;
  readonly event: EventRow;
}
