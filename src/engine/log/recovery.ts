import type { Limits } from '../../core/index.ts';
import { crashRecord, crashRecords, keepRecords } from './attempt-records.ts';
import { LogDelivery } from './log-delivery.ts';
import type { HeldKeyCount } from './sharing.ts';
import type { PlaceInLog } from './state-codec.ts';
import type { LogStore } from './store.ts';
import type { DeliveryRow, EventRow } from './stored.ts';

/**
 * What an earlier process left behind of a subscription, read in full before any of it is taken up: what is handed out
 * again must find its key held back by what failed before it.
 *
 * `open` positions with an attempt counted, positions up to the mark, and rows in `begun` were cut short: that attempt is
 * in their record (`CARILLON_CRASHED`) and they are handed out again. `open` positions without one are handed out as if
 * nothing had been. Rows in `acked` are settled, whatever the place says.
 */
export interface LeftBehind {
  /** To be handed out again, ascending by position. */
  readonly reopened: readonly LogDelivery[];
  /** Each with the state it goes on in: `retrying`, or `held` when others of its key come before it. */
  readonly rows: readonly RecoveredRow[];
  readonly keys: readonly HeldKeyCount[];
  /** Positions whose row has done its duty. */
  readonly acked: readonly number[];
}

export interface RecoveredRow {
  readonly row: DeliveryRow;
  /** Whether the row on disk says otherwise. */
  readonly changed: boolean;
}

/** What a recovery needs to know of the subscription. */
export interface Recovery {
  readonly store: LogStore;
  readonly limits: Limits;
  readonly nowMs: number;
  /** Whether the subscription asks for the event, in a slot that is recovered. */
  readonly wants: (row: EventRow) => boolean;
  readonly keyOf: (row: EventRow) => string | null;
}

/** Rows read from the log at a time. */
const READ_PAGE = 2048;

/**
 * Deliveries that were open at this place.
 * @param marked the last position that may have been begun on the strength of the mark alone
 */
export async function reopen(recovery: Recovery, place: PlaceInLog, marked: number): Promise<LogDelivery[]> {
  const reopened: LogDelivery[] = [];
  for (const { position, attempts } of place.open) {
    const row = await eventAt(recovery.store, position);
    if (row && recovery.wants(row)) reopened.push(reopenedOne(recovery, row, attempts));
  }
  let after = place.readUpTo;
  while (after < marked) {
    const page = await recovery.store.read({ after, upTo: marked, limit: READ_PAGE, scanMax: READ_PAGE });
    for (const row of page.rows) {
      const further = place.slots.get(row.slot) ?? 0;
      if (row.position > further && recovery.wants(row)) reopened.push(reopenedOne(recovery, row, 1));
    }
    after = page.scannedTo;
  }
  return reopened;
}

async function eventAt(store: LogStore, position: number): Promise<EventRow | undefined> {
  const { rows } = await store.read({ after: position - 1, upTo: position, limit: 1, scanMax: 1 });
  return rows[0];
}

function reopenedOne({ keyOf, limits, nowMs }: Recovery, row: EventRow, attempts: number): LogDelivery {
  return new LogDelivery(row, keyOf(row), attempts, crashRecords(attempts, nowMs, limits));
}

/**
 * What becomes of rows that were retrying or begun.
 * @param rows ascending by position
 */
export function recoverRows(
  { limits, nowMs }: Pick<Recovery, 'limits' | 'nowMs'>,
  rows: readonly DeliveryRow[],
  keys: readonly HeldKeyCount[],
): RecoveredRow[] {
  const waiting = new Set(keys.filter(({ held }) => held > 0).map(({ key }) => key));
  const failing = new Set<string>();
  return rows.map((row) => {
    const { key } = row;
    // Attempts are counted ahead, so several of one key may have been begun, and not all before those that wait.
    const waits = row.state === 'begun' && key !== null && (waiting.has(key) || failing.has(key));
    if (key !== null && !waits) failing.add(key);
    if (row.state !== 'begun') return { row, changed: false };
    const records = keepRecords(row.records, crashRecord(row.attempts, nowMs), limits);
    return { row: { ...row, state: waits ? 'held' : 'retrying', atMs: nowMs, records }, changed: true };
  });
}
