import { carillonError, type StartFrom } from '../../core/index.ts';

import type {
  CommitBatch,
  CommitResult,
  DeliveryQuery,
  DeliveryRow,
  EventRow,
  HeldKeyCount,
  LogStore,
  RefusedUnit,
  ScheduledRow,
  Sharing,
  StoredSubscription,
  StoreOpened,
  StoreQuery,
  StoreRows,
  StoreTransaction,
  StoreUnit,
} from '../../engine/log/index.ts';
import type { MemoryLog } from './memory-log.ts';

/** A log store whose commits are plain assignments: each is applied in one turn, so a crash never sees half of one. */
export class MemoryStore implements LogStore {
  readonly name = 'memory';
  readonly capabilities: LogStore['capabilities'] = { durable: false, transactions: false };
  readonly sharing: Sharing | null = null;
  readonly outbox = null;
  readonly log: MemoryLog;

  constructor(log: MemoryLog) {
    this.log = log;
  }

  async open(): Promise<StoreOpened> {
    const { log } = this;
    if (log.inUse) throw carillonError('CARILLON_DIRECTORY_LOCKED', 'another engine uses this memory log');
    log.inUse = true;
    const newest = log.events.at(-1);
    const due = [...log.scheduled.values()].map((row) => row.dueMs);
    return {
      first: log.events[0]?.position ?? 0,
      last: log.last,
      lastRecordedMs: newest?.recordedMs ?? 0,
      nextDueMs: due.length > 0 ? Math.min(...due) : null,
    };
  }

  async commit(batch: CommitBatch): Promise<CommitResult> {
    const positions: number[] = [];
    const refused: RefusedUnit[] = [];
    batch.units.forEach((unit, index) => {
      const reason = this.refusal(unit);
      if (reason) refused.push({ unit: index, reason });
      for (const row of unit.rows) positions.push(reason ? 0 : this.append(row, batch.recordedMs));
    });
    for (const { subscription, state } of batch.states) this.log.states.set(subscription, state);
    for (const row of batch.put) this.log.deliveries.set(`${row.subscription}:${row.position}`, row);
    for (const { subscription, position } of batch.remove) this.log.deliveries.delete(`${subscription}:${position}`);
    return {
      positions: Float64Array.from(positions),
      amidOthers: null,
      refused,
      scheduled: batch.schedule.map(({ event, dueMs }) => this.schedule(event, dueMs)),
      unscheduled: batch.unschedule.map(({ source, id }) => this.unschedule(source, id)),
      arranged: [],
    };
  }

  refusal(unit: StoreUnit): RefusedUnit['reason'] | null {
    const { expectedRevision, subject, scheduled, rows } = unit;
    if (scheduled !== undefined) return this.log.scheduled.delete(scheduled) ? null : { kind: 'cancelled' };
    if (expectedRevision === undefined) return null;
    // A repeated publish found itself: whatever came after it, it went through.
    const first = rows[0];
    if (first && this.positionOf(first) !== undefined) return null;
    const actual = this.log.revisions.get(subject ?? '') ?? 0;
    return actual === (expectedRevision === 'none' ? 0 : expectedRevision) ? null : { kind: 'revision', actual };
  }

  append(row: StoreUnit['rows'][number], recordedMs: number): number {
    const { log } = this;
    let ids = log.ids.get(row.source);
    if (!ids) {
      ids = new Map();
      log.ids.set(row.source, ids);
    }
    const known = ids.get(row.id);
    if (known !== undefined) return -known;
    const position = ++log.last;
    const { slot, askedBy, id, source, type, subject, time, attributes, data } = row;
    log.events.push({ position, recordedMs, slot, askedBy, id, source, type, subject, time, attributes, data });
    ids.set(id, position);
    if (row.subject !== null) log.revisions.set(row.subject, position);
    return position;
  }

  positionOf({ source, id }: EventRow): number | undefined {
    return this.log.ids.get(source)?.get(id);
  }

  schedule(event: EventRow, dueMs: number): CommitResult['scheduled'][number] {
    const position = this.positionOf(event);
    if (position !== undefined) return { position, dueMs: 0 };
    for (const row of this.log.scheduled.values()) {
      if (row.event.source === event.source && row.event.id === event.id) return { position: 0, dueMs: row.dueMs };
    }
    const no = ++this.log.lastScheduled;
    this.log.scheduled.set(no, { no, dueMs, event });
    return null;
  }

  unschedule(source: string, id: string): boolean {
    for (const { no, event } of this.log.scheduled.values()) {
      if (event.source === source && event.id === id) return this.log.scheduled.delete(no);
    }
    return false;
  }

  async read(query: StoreQuery): Promise<StoreRows> {
    const { events } = this.log;
    const rows: EventRow[] = [];
    const end = Math.min(query.upTo, query.after + query.scanMax);
    let scannedTo = query.after;
    for (let index = this.indexAfter(query.after); index < events.length; index++) {
      const row = events[index] as EventRow;
      if (row.position > end || rows.length === query.limit) return { rows, scannedTo };
      scannedTo = row.position;
      if (query.type !== undefined && row.type !== query.type) continue;
      if (query.subject !== undefined && row.subject !== query.subject) continue;
      rows.push(row);
    }
    return { rows, scannedTo: Math.max(scannedTo, end === query.upTo ? end : scannedTo) };
  }

  indexAfter(position: number): number {
    return lowerBound(this.log.events, (row) => row.position > position);
  }

  async positionAt(ms: number): Promise<number> {
    const { events, last } = this.log;
    return events[lowerBound(events, (row) => row.recordedMs >= ms)]?.position ?? last + 1;
  }

  async openSubscription(name: string, from: StartFrom): Promise<StoredSubscription> {
    const { log } = this;
    const known = log.subscriptions.get(name);
    if (known) return { ...known, state: log.states.get(known.no) ?? null };
    const start = await this.startPosition(from);
    const made = { no: log.subscriptions.size + 1, start };
    log.subscriptions.set(name, made);
    return { ...made, state: null };
  }

  async startPosition(from: StartFrom): Promise<number> {
    if (from === 'beginning') return 0;
    if (from === 'now') return this.log.last;
    return 'position' in from ? Math.max(0, from.position - 1) : (await this.positionAt(from.timeMs)) - 1;
  }

  async subscriptionNames(): Promise<readonly string[]> {
    return [...this.log.subscriptions.keys()];
  }

  async readDeliveries(query: DeliveryQuery): Promise<readonly DeliveryRow[]> {
    const no =
      query.subscription ??
      (query.subscriptionName === undefined
        ? undefined
        : (this.log.subscriptions.get(query.subscriptionName)?.no ?? 0));
    const wanted = query.positions ? new Set(query.positions) : null;
    const names = new Map([...this.log.subscriptions].map(([name, subscription]) => [subscription.no, name]));
    return [...this.log.deliveries.values()]
      .filter((row) => no === undefined || row.subscription === no)
      .filter((row) => query.states.includes(row.state))
      .filter((row) => query.key === undefined || row.key === query.key)
      .filter((row) => (wanted ? wanted.has(row.position) : row.position > (query.after ?? 0)))
      .sort((a, b) => a.position - b.position || a.subscription - b.subscription)
      .slice(0, query.limit)
      .map((row) => ({
        ...row,
        subscriptionName: names.get(row.subscription) ?? '',
        event: query.withEvents ? this.eventAt(row.position) : undefined,
      }));
  }

  eventAt(position: number): EventRow | undefined {
    const row = this.log.events[this.indexAfter(position - 1)];
    return row?.position === position ? row : undefined;
  }

  async heldKeys(subscription: number): Promise<readonly HeldKeyCount[]> {
    const keys = new Map<string, { key: string; held: number; holding: number }>();
    for (const row of this.log.deliveries.values()) {
      if (row.subscription !== subscription || row.key === null) continue;
      if (row.state !== 'held' && !(row.state === 'dead' && row.holds)) continue;
      const entry = keys.get(row.key) ?? { key: row.key, held: 0, holding: 0 };
      if (row.state === 'held') entry.held++;
      else entry.holding++;
      keys.set(row.key, entry);
    }
    return [...keys.values()];
  }

  async deliveryCounts(subscription: number): Promise<{ readonly held: number; readonly dead: number }> {
    let held = 0;
    let dead = 0;
    for (const row of this.log.deliveries.values()) {
      if (row.subscription !== subscription) continue;
      if (row.state === 'held') held++;
      if (row.state === 'dead') dead++;
    }
    return { held, dead };
  }

  async readDue(
    ms: number,
    limit: number,
  ): Promise<{ readonly due: readonly ScheduledRow[]; readonly nextMs: number | null }> {
    const rows = [...this.log.scheduled.values()].sort((a, b) => a.dueMs - b.dueMs || a.no - b.no);
    const due = rows.filter((row) => row.dueMs <= ms).slice(0, limit);
    return { due, nextMs: rows[due.length]?.dueMs ?? null };
  }

  async begin(): Promise<StoreTransaction> {
    throw carillonError('CARILLON_UNSUPPORTED', 'the memory engine has no transactions to hand to a handler', {
      capability: 'transactions',
    });
  }

  async close(): Promise<void> {
    this.log.inUse = false;
  }
}

/** Index of the first row for which `holds` is true; rows for which it is false come before all others. */
function lowerBound(rows: readonly EventRow[], holds: (row: EventRow) => boolean): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(rows[middle] as EventRow)) high = middle;
    else low = middle + 1;
  }
  return low;
}
