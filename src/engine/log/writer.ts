import {
  carillonError,
  fifo,
  isCarillonError,
  toError,
  type Clock,
  type Fifo,
  type Limits,
  type Published,
  type Timer,
} from '../../core/index.ts';
import type { AppendUnit, EncodedEvent, EngineHost } from '../engine.ts';
import type { RecentEvents } from './recent-events.ts';
import { failureOf, isPassing } from './refusals.ts';
import { rowOf, type FreshRow } from './rows.ts';
import {
  emptyBatch,
  type CommitBatch,
  type CommitResult,
  type LogStore,
  type StateWrite,
  type StoreTransaction,
  type StoreUnit,
} from './store.ts';
import type { DeliveryRow, EventRow } from './stored.ts';
import type { Answer, Arrangement } from './sharing.ts';
import { LogTail, type TailHost } from './tail.ts';

/**
 * Group commit: gathers whatever is asked for while a commit is under way, and sends it as one.
 *
 * States: `idle` (nothing under way), `busy` (one or two commits under way: a second is sent early when enough events
 * have gathered to keep the store working while results are told), `paused` (an interactive transaction holds the
 * store), `failed` (for good). Work that comes in sends a commit when idle, on the next turn of the event loop, so
 * that publishes of one turn share it; acknowledgements alone wait up to `limits.ackLingerMs` for company.
 *
 * When the storage is full or busy, plain appends of that commit are rejected and may be repeated; everything else (states,
 * delivery rows, events joined with an acknowledgement) is put back and tried again until there is room.
 *
 * Where the log is shared, this process may have been declared dead. Then what it had to say of its deliveries is void:
 * states and rows are dropped, events joined with acknowledgements rejected (`CARILLON_LEASE_LOST`); plain appends and
 * schedules are nobody's lease, and go with the next commit.
 */

/** Events of one commit at most. Larger ones take longer to become durable and gain nothing. */
const COMMIT_EVENTS_MAX = 512;
/** Events gathered that make a second commit worth sending before the first is done. */
const PIPELINE_EVENTS_MIN = 256;
const COMMITS_UNDER_WAY_MAX = 2;
const REFUSED_RETRY_MS = 500;

/** A subscription of a shared log that comes to hold its slots as one share, or gives some up. */
export interface ArrangingSource extends StateSource {
  /** What it keeps and what it gives up, with their places: written with all that was told of it before. */
  arrange(): Omit<Arrangement, 'subscription'>;
  /** It was written. @param share number of the one that is kept */
  arranged(share: number | null): void;
}

/** A subscription, as the writer sees it. */
export interface StateSource {
  readonly no: number;
  /** Every position up to here has been looked at. */
  readonly readUpTo: number;
  /** What to write of its place with the next commit; called only when the writer was told of a change. */
  snapshot(): readonly StateWrite[];
  /** The last snapshot taken for this commit is durable. */
  snapshotDurable(token: number): void;
  /** The snapshot was not written: its changes must be told again. */
  snapshotLost(): void;
  /** Identifies the snapshot just taken. */
  readonly snapshotToken: number;
  /** Events were committed. */
  appended(): void;
}

interface PendingUnit extends StoreUnit {
  readonly rows: readonly FreshRow[];
  readonly size: number;
  /** Of one event alone, told without a list around it. */
  readonly resolveOne: ((published: Published) => void) | null;
  readonly resolve: ((published: readonly Published[]) => void) | null;
  readonly reject: (error: Error) => void;
}

interface Schedule {
  readonly event: EventRow;
  readonly dueMs: number;
  readonly resolve: (published: Published) => void;
  readonly reject: (error: Error) => void;
}

interface Unschedule {
  readonly source: string;
  readonly id: string;
  readonly resolve: (found: boolean) => void;
  readonly reject: (error: Error) => void;
}

interface Arranging {
  readonly source: ArrangingSource;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

interface Waiter {
  /** Told of a refusal that will pass, rather than left to wait. */
  readonly once: boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** One commit under way, with what to tell whom when it ends. */
interface Sent {
  readonly batch: CommitBatch;
  readonly units: readonly PendingUnit[];
  /** How many of `units`, at the front, are joined with acknowledgements and never rejected for want of room. */
  readonly joined: number;
  readonly states: readonly { readonly source: StateSource; readonly token: number }[];
  readonly schedule: readonly Schedule[];
  readonly unschedule: readonly Unschedule[];
  readonly arranging: readonly Arranging[];
  readonly waiters: readonly Waiter[];
}

const nothing = (): void => undefined;

export class LogWriter implements TailHost {
  readonly tail: LogTail;
  failure: Error | null = null;
  /** Called when this process is found to be dead to the others, after its leases are forgotten here. */
  onFenced: () => void = nothing;
  /** Whether this process is sure of its leases: always, where it has the log for itself. */
  leased: () => boolean = () => true;
  readonly store: LogStore;
  readonly host: EngineHost;
  readonly clock: Clock;
  readonly limits: Limits;

  units: Fifo<PendingUnit> = fifo();
  unitEvents = 0;
  joined: PendingUnit[] = [];
  put: DeliveryRow[] = [];
  remove: { subscription: number; position: number }[] = [];
  schedule: Schedule[] = [];
  unschedule: Unschedule[] = [];
  arranging: Arranging[] = [];
  answers: Answer[] = [];
  waiters: Waiter[] = [];
  dirty: Set<StateSource> = new Set();
  sources: Set<StateSource> = new Set();

  lastRecordedMs: number;
  underWay = 0;
  /** An arrangement is under way: what is sent after it has to know the share that it makes. */
  arrangementUnderWay = false;
  generation = 0;
  paused = false;
  /** Transactions that wait for the writer: it sends nothing more until the commits under way have ended. */
  pausing = 0;
  full = false;
  /** Commits that were not applied, in order, until those sent after them are known to have met the same fate. */
  unapplied: { readonly sent: Sent; readonly error: Error | null }[] = [];
  fenced = false;
  deferred = false;
  linger: Timer | null = null;
  eventsInFlight = 0;
  sizeInFlight = 0;
  idle: (() => void)[] = [];
  appendListeners: Set<(last: number) => void> = new Set();

  constructor(store: LogStore, host: EngineHost, last: number, lastRecordedMs: number) {
    this.store = store;
    this.host = host;
    this.clock = host.clock;
    this.limits = host.limits;
    this.lastRecordedMs = lastRecordedMs;
    this.tail = new LogTail(this, last);
  }

  /** The end of the log, as far as this process knows it. */
  get last(): number {
    return this.tail.last;
  }

  get recent(): RecentEvents {
    return this.tail.recent;
  }

  /** Whether the store shares its log: then events need their slot. */
  get shared(): boolean {
    return this.store.sharing !== null;
  }

  appendOne(encoded: EncodedEvent, expectedRevision: number | 'none' | undefined): Promise<Published> {
    return new Promise((resolve, reject) => {
      const row = rowOf(encoded, this.shared);
      this.enqueue({
        rows: [row],
        expectedRevision,
        subject: row.subject,
        scheduled: undefined,
        size: row.data?.length ?? 0,
        resolveOne: resolve,
        resolve: null,
        reject,
      });
    });
  }

  append(unit: AppendUnit): Promise<readonly Published[]> {
    if (unit.events.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const pending = pendingUnit(unit, this.shared, resolve, reject);
      const { sharing } = this.store;
      // An answer that is given here needs no way back.
      if (unit.asks === true && sharing) (pending.rows[0] as FreshRow).askedBy = sharing.asker;
      this.enqueue(pending);
    });
  }

  enqueue(pending: PendingUnit): void {
    const refusal = this.failure ?? this.overload(pending.rows.length);
    if (refusal) return pending.reject(refusal);
    this.eventsInFlight += pending.rows.length;
    this.sizeInFlight += pending.size;
    this.unitEvents += pending.rows.length;
    this.units.push(pending);
    this.wake();
  }

  overload(events: number): Error | null {
    const { publishesInFlightMax, publishBytesInFlightMax } = this.limits;
    const limit =
      this.eventsInFlight + events > publishesInFlightMax
        ? 'publishesInFlightMax'
        : this.sizeInFlight > publishBytesInFlightMax
          ? 'publishBytesInFlightMax'
          : null;
    if (limit === null) return null;
    return carillonError('CARILLON_OVERLOADED', `limits.${limit} publishes are in flight already`, { limit });
  }

  /** Appends in the same commit as the states and rows told so far: for events joined with an acknowledgement. */
  appendJoined(unit: AppendUnit): Promise<readonly Published[]> {
    return new Promise((resolve, reject) => {
      if (this.failure) return reject(this.failure);
      const pending = pendingUnit(unit, this.shared, resolve, reject);
      this.eventsInFlight += pending.rows.length;
      this.sizeInFlight += pending.size;
      this.joined.push(pending);
      this.wake();
    });
  }

  /** Moves a scheduled event into the log; resolves with an empty list when it was taken back meanwhile. */
  appendScheduled(no: number, encoded: EncodedEvent): Promise<readonly Published[]> {
    return new Promise((resolve, reject) => {
      this.enqueue({ ...pendingUnit({ events: [encoded] }, this.shared, resolve, reject), scheduled: no });
    });
  }

  addSchedule(event: EventRow, dueMs: number): Promise<Published> {
    return new Promise((resolve, reject) => {
      if (this.failure) return reject(this.failure);
      this.schedule.push({ event, dueMs, resolve, reject });
      this.wake();
    });
  }

  removeSchedule(source: string, id: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (this.failure) return reject(this.failure);
      this.unschedule.push({ source, id, resolve, reject });
      this.wake();
    });
  }

  /** A subscription's state has changed; it is written with the next commit, within the linger. */
  touch(source: StateSource): void {
    // One that is closed has no say any more: another may be open in its place.
    if (this.dirty.has(source) || !this.sources.has(source)) return;
    this.dirty.add(source);
    this.startLinger();
  }

  startLinger(): void {
    if (this.underWay > 0 || this.deferred || this.linger || this.failure) return;
    this.linger = this.clock.setTimer(this.limits.ackLingerMs, () => {
      this.linger = null;
      this.flush();
    });
  }

  putRow(row: DeliveryRow): void {
    this.put.push(row);
    this.wake();
  }

  removeRow(subscription: number, position: number): void {
    this.remove.push({ subscription, position });
  }

  /** Takes back a removal that was not written. */
  keepRow(subscription: number, position: number): void {
    this.remove = this.remove.filter((row) => row.subscription !== subscription || row.position !== position);
  }

  /** Writes how a subscription holds its slots from now on; resolves when that is durable. */
  arrange(source: ArrangingSource): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.failure) return reject(this.failure);
      this.arranging.push({ source, resolve, reject });
      this.wake();
    });
  }

  /** Sends an answer to the member that asked, with the next commit. */
  answer(answer: Answer): void {
    this.answers.push(answer);
    this.wake();
  }

  /** Resolves when everything told so far is durable; waits for room when the storage is full. */
  commitNow(): Promise<void> {
    return this.commit(false);
  }

  /** The same, but fails when the storage refuses: for closing, which must come to an end. */
  commitOnce(): Promise<void> {
    return this.commit(true);
  }

  commit(once: boolean): Promise<void> {
    if (this.failure) return Promise.reject(this.failure);
    if (this.underWay === 0 && !this.hasWork()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.waiters.push({ once, resolve, reject });
      this.wake();
    });
  }

  hasWork(): boolean {
    return this.hasUrgentWork() || this.remove.length > 0 || this.dirty.size > 0;
  }

  /** Work that somebody waits for: all but acknowledgements. */
  hasUrgentWork(): boolean {
    return (
      this.units.length > 0 ||
      this.joined.length > 0 ||
      this.put.length > 0 ||
      this.schedule.length > 0 ||
      this.unschedule.length > 0 ||
      this.arranging.length > 0 ||
      this.answers.length > 0 ||
      this.waiters.length > 0
    );
  }

  wake(): void {
    if (this.deferred || this.paused || this.failure) return;
    if (this.underWay === 0) {
      this.deferred = true;
      this.clock.defer(() => {
        this.deferred = false;
        this.flush();
      });
    } else if (this.underWay < COMMITS_UNDER_WAY_MAX && this.unitEvents >= PIPELINE_EVENTS_MIN && !this.full) {
      this.flush();
    }
  }

  flush(): void {
    if (!this.paused && this.pausing === 0 && this.unapplied.length === 0) this.send();
  }

  send(): void {
    if (this.failure || this.fenced || this.arrangementUnderWay) return;
    if (this.underWay >= COMMITS_UNDER_WAY_MAX || !this.hasWork()) return;
    // A commit made again must not come after one that gave its slots to another.
    if (this.underWay > 0 && this.arranging.length > 0) return;
    const sent = this.collect();
    this.underWay++;
    this.arrangementUnderWay = sent.arranging.length > 0;
    this.store.commit(sent.batch).then(
      (result) => this.committed(sent, result),
      (error: unknown) => this.refused(sent, toError(error)),
    );
  }

  /** Takes what has gathered into one batch. */
  collect(): Sent {
    this.linger?.cancel();
    this.linger = null;
    const units = this.joined;
    const joined = units.length;
    const joinedEvents = units.reduce((sum, pending) => sum + pending.rows.length, 0);
    this.joined = [];
    let events = 0;
    for (let next = this.units.peek(); next; next = this.units.peek()) {
      events += next.rows.length;
      if (events > COMMIT_EVENTS_MAX && events > next.rows.length) break;
      this.units.shift();
      this.unitEvents -= next.rows.length;
      units.push(next);
    }
    const states: { source: StateSource; token: number }[] = [];
    const places: StateWrite[] = [];
    const arrangements = this.arranging.map(({ source }) => ({ subscription: source.no, ...source.arrange() }));
    for (const { source } of this.arranging) this.dirty.delete(source);
    for (const source of this.dirty) {
      places.push(...source.snapshot());
      states.push({ source, token: source.snapshotToken });
    }
    this.dirty.clear();
    this.lastRecordedMs = Math.max(this.lastRecordedMs, this.clock.now());
    const sent: Sent = {
      batch: {
        generation: this.generation,
        recordedMs: this.lastRecordedMs,
        units,
        joined: joinedEvents,
        states: places,
        put: this.put,
        remove: this.remove,
        schedule: this.schedule.map(({ event, dueMs }) => ({ event, dueMs })),
        unschedule: this.unschedule.map(({ source, id }) => ({ source, id })),
        arrangements,
        answers: this.answers,
      },
      units,
      joined,
      states,
      schedule: this.schedule,
      unschedule: this.unschedule,
      arranging: this.arranging,
      waiters: this.waiters,
    };
    this.put = [];
    this.remove = [];
    this.schedule = [];
    this.unschedule = [];
    this.arranging = [];
    this.answers = [];
    this.waiters = [];
    return sent;
  }

  committed(sent: Sent, result: CommitResult): void {
    this.underWay--;
    sent.arranging.forEach(({ source }, index) => source.arranged(result.arranged[index] ?? null));
    if (sent.arranging.length > 0) this.arrangementUnderWay = false;
    // The store is free: give it the next commit before telling anybody of this one.
    // Acknowledgements go through on a full storage, too: only new events show that there is room.
    if (this.full && sent.units.length > sent.joined) this.setFull(false);
    if (this.hasUrgentWork()) this.flush();
    this.tell(sent, result);
    if (this.underWay > 0) return;
    if (this.fenced) this.forgetLeases();
    if (this.hasWork()) this.startLinger();
    this.becameIdle();
  }

  /** Tells everybody concerned that a commit is durable. */
  tell(sent: Sent, result: CommitResult): void {
    for (const { source, token } of sent.states) source.snapshotDurable(token);
    this.tail.took(placedRows(sent, result), result.amidOthers?.before ?? null);
    this.resolveUnits(sent, result);
    sent.schedule.forEach((entry, index) => entry.resolve(scheduledResult(entry, result.scheduled[index] ?? null)));
    sent.unschedule.forEach((entry, index) => entry.resolve(result.unscheduled[index] === true));
    for (const waiter of [...sent.arranging, ...sent.waiters]) waiter.resolve();
  }

  grew(): void {
    for (const source of this.sources) source.appended();
    for (const listener of this.appendListeners) listener(this.last);
  }

  /**
   * Whether some subscription still reads from the events kept in memory. What all of those have read is forgotten: most
   * events are gone before they grow old, and a subscription that has fallen behind the memory costs none.
   */
  keepRecent(): boolean {
    let read = Infinity;
    for (const { readUpTo } of this.sources) if (this.recent.covers(readUpTo)) read = Math.min(read, readUpTo);
    if (read === Infinity) return false;
    this.recent.drop(read);
    return true;
  }

  resolveUnits(sent: Sent, { positions, refused }: CommitResult): void {
    const refusals = refused.length > 0 ? new Map(refused.map((one) => [one.unit, one.reason])) : null;
    let at = 0;
    for (let index = 0; index < sent.units.length; index++) {
      const pending = sent.units[index] as PendingUnit;
      const { length } = pending.rows;
      this.eventsInFlight -= length;
      this.sizeInFlight -= pending.size;
      const reason = refusals?.get(index);
      if (reason) refuse(pending, reason);
      else tellPublished(pending, positions, at);
      at += length;
    }
  }

  refused(sent: Sent, error: Error): void {
    this.underWay--;
    if (sent.arranging.length > 0) this.arrangementUnderWay = false;
    const superseded = sent.batch.generation !== this.generation;
    if (this.failure) return this.fail(this.failure, sent);
    const fenced = this.shared && isCarillonError(error, 'CARILLON_LEASE_LOST');
    if (!superseded && !fenced && !isPassing(error)) return this.fail(error, sent);
    this.unapplied.push({ sent, error: superseded || fenced ? null : error });
    this.fenced ||= fenced;
    if (!superseded) this.generation++;
    if (!superseded && !fenced) {
      this.setFull(isCarillonError(error, 'CARILLON_STORAGE_FULL'));
      this.clock.setTimer(REFUSED_RETRY_MS, () => this.flush());
    }
    if (this.underWay > 0) return;
    // The latest first, because each is put before what is there already.
    for (const one of this.unapplied.splice(0).reverse()) this.putBack(one.sent, one.error);
    if (this.fenced) this.forgetLeases();
    if (superseded || this.waiters.some((waiter) => waiter.once)) this.wake();
    this.becameIdle();
  }

  /** This process is dead to the others: what it was to say of deliveries is void. */
  forgetLeases(): void {
    this.fenced = false;
    this.put = [];
    this.remove = [];
    this.dirty.clear();
    for (const pending of this.joined.splice(0)) this.rejectUnit(pending, leaseLost());
    for (const { reject } of this.arranging.splice(0)) reject(leaseLost());
    this.onFenced();
    this.wake();
  }

  /** It was found out in another way than by a commit that was refused: those under way are waited for. */
  fence(): void {
    this.fenced = true;
    if (this.underWay === 0) this.forgetLeases();
  }

  /**
   * Takes back what a commit that was not applied was to write.
   * @param error rejects its plain appends, and who would not wait; null when it was not refused for itself
   */
  putBack(sent: Sent, error: Error | null): void {
    this.put = [...sent.batch.put, ...this.put];
    this.remove = [...sent.batch.remove, ...this.remove];
    this.schedule = [...sent.schedule, ...this.schedule];
    this.unschedule = [...sent.unschedule, ...this.unschedule];
    this.arranging = [...sent.arranging, ...this.arranging];
    this.answers = [...sent.batch.answers, ...this.answers];
    const waiting = error
      ? sent.waiters.filter((waiter) => !waiter.once || (waiter.reject(error), false))
      : sent.waiters;
    this.waiters = [...waiting, ...this.waiters];
    for (const { source } of sent.states) {
      source.snapshotLost();
      this.dirty.add(source);
    }
    this.joined = [...sent.units.slice(0, sent.joined), ...this.joined];
    const plain = sent.units.slice(sent.joined);
    if (error) {
      for (const pending of plain) this.rejectUnit(pending, error);
      return;
    }
    const later = this.units.drain();
    for (const pending of [...plain, ...later]) this.units.push(pending);
    for (const pending of plain) this.unitEvents += pending.rows.length;
  }

  rejectUnit(pending: PendingUnit, error: Error): void {
    this.eventsInFlight -= pending.rows.length;
    this.sizeInFlight -= pending.size;
    pending.reject(error);
  }

  setFull(full: boolean): void {
    if (this.full === full) return;
    this.full = full;
    this.host.onStorageFull(full);
  }

  /** The engine is closed: what is still asked for is refused. */
  end(): void {
    this.failure ??= carillonError('CARILLON_STOPPED', 'the engine is closed');
    this.linger?.cancel();
  }

  /** Nothing is accepted or believed any more. */
  fail(thrown: unknown, sent?: Sent): void {
    const error = failureOf(toError(thrown));
    if (sent) this.rejectAll(sent, error);
    if (this.failure) return;
    this.failure = error;
    this.linger?.cancel();
    for (const one of this.unapplied.splice(0)) this.rejectAll(one.sent, error);
    this.rejectAll(this.collect(), error);
    this.host.onFailure(error);
    this.becameIdle();
  }

  rejectAll(sent: Sent, error: Error): void {
    for (const pending of sent.units) this.rejectUnit(pending, error);
    const others = [...sent.schedule, ...sent.unschedule, ...sent.arranging, ...sent.waiters];
    for (const entry of others) entry.reject(error);
  }

  becameIdle(): void {
    for (const resolve of this.idle.splice(0)) resolve();
  }

  /** Runs something that writes by itself, with no commit or transaction beside it. */
  async alone<Result>(run: () => Promise<Result>): Promise<Result> {
    await this.pause();
    try {
      return await run();
    } finally {
      this.resume();
    }
  }

  /** Waits for commits under way, then sends no more until {@link resume}: for an interactive transaction. */
  async pause(): Promise<void> {
    this.pausing++;
    try {
      while (this.paused || this.underWay > 0) {
        if (this.failure) throw this.failure;
        await new Promise<void>((resolve) => this.idle.push(resolve));
      }
    } finally {
      this.pausing--;
    }
    this.paused = true;
  }

  /** Sends what has gathered, with these events, as the end of the interactive transaction that paused the writer. */
  async commitInside(transaction: StoreTransaction, units: readonly AppendUnit[]): Promise<void> {
    const appended = Promise.all(units.map((unit) => this.appendJoined(unit)));
    // Told by the outcome below; a rejection there is the same one.
    appended.catch(nothing);
    const plain = this.units;
    this.units = fifo();
    const sent = this.collect();
    this.units = plain;
    try {
      this.tell(sent, await transaction.commit(sent.batch));
    } catch (thrown) {
      const error = toError(thrown);
      if (this.failure) this.rejectAll(sent, this.failure);
      else this.putBackOthers(sent, units.length, error);
      throw error;
    }
  }

  /**
   * Commits a transaction that runs beside commits and other transactions: its events, and rows that say what it has
   * acknowledged.
   */
  async commitBeside(
    transaction: StoreTransaction,
    units: readonly AppendUnit[],
    rows: readonly DeliveryRow[],
  ): Promise<void> {
    const pending = units.map((unit) => pendingUnit(unit, this.shared, null, nothing));
    this.lastRecordedMs = Math.max(this.lastRecordedMs, this.clock.now());
    const batch: CommitBatch = {
      ...emptyBatch,
      generation: this.generation,
      recordedMs: this.lastRecordedMs,
      units: pending,
      joined: pending.reduce((sum, { rows: events }) => sum + events.length, 0),
      put: rows,
    };
    const result = await transaction.commit(batch);
    this.tail.took(placedRows({ batch, units: pending }, result), result.amidOthers?.before ?? null);
  }

  /** What other handlers had joined meanwhile is not at fault, and goes with the next commit. @param own how many of the last units are */
  putBackOthers(sent: Sent, own: number, error: Error): void {
    const joined = sent.units.length - own;
    for (const pending of sent.units.slice(joined)) this.rejectUnit(pending, error);
    this.putBack({ ...sent, units: sent.units.slice(0, joined), joined }, null);
  }

  resume(): void {
    this.paused = false;
    // What has gathered goes before the next transaction that waits, so that neither starves the other.
    if (this.pausing > 0) this.send();
    else if (this.hasWork()) this.wake();
    if (this.underWay === 0) this.becameIdle();
  }
}

function pendingUnit(
  unit: AppendUnit,
  shared: boolean,
  resolve: PendingUnit['resolve'],
  reject: PendingUnit['reject'],
): PendingUnit {
  const rows = unit.events.map((encoded) => rowOf(encoded, shared));
  return {
    rows,
    expectedRevision: unit.expectedRevision,
    subject: rows[0]?.subject ?? null,
    scheduled: undefined,
    size: rows.reduce((sum, row) => sum + (row.data?.length ?? 0), 0),
    resolveOne: null,
    resolve,
    reject,
  };
}

/** The rows that were appended, with their place in the log. */
function placedRows({ batch, units }: Pick<Sent, 'batch' | 'units'>, result: CommitResult): readonly FreshRow[] {
  const { positions, amidOthers } = result;
  const recordedMs = amidOthers?.recordedMs ?? batch.recordedMs;
  const placed: FreshRow[] = [];
  let at = 0;
  for (const { rows } of units) {
    for (const row of rows) {
      const position = positions[at++] as number;
      if (position <= 0) continue;
      row.position = position;
      row.recordedMs = recordedMs;
      placed.push(row);
    }
  }
  return placed;
}

const leaseLost = (): Error =>
  carillonError('CARILLON_LEASE_LOST', 'this process was taken for dead, and others have its deliveries');

function tellPublished({ rows, resolveOne, resolve }: PendingUnit, positions: Float64Array, from: number): void {
  if (resolveOne) resolveOne(publishedAt((rows[0] as FreshRow).id, positions[from] as number));
  else resolve?.(rows.map((row, index) => publishedAt(row.id, positions[from + index] as number)));
}

/** @param position negative for a duplicate of that position */
function publishedAt(id: string, position: number): Published {
  return { id, position: Math.abs(position), duplicate: position < 0, scheduledMs: null };
}

function refuse(pending: PendingUnit, reason: CommitResult['refused'][number]['reason']): void {
  if (reason.kind === 'cancelled') pending.resolve?.([]);
  else pending.reject(revisionConflict(pending, reason.actual));
}

function revisionConflict(pending: PendingUnit, actual: number): Error {
  const { subject, expectedRevision } = pending;
  const found = actual === 0 ? 'none' : actual;
  return carillonError(
    'CARILLON_REVISION_CONFLICT',
    `subject "${subject ?? ''}" is at revision ${found}, not ${expectedRevision ?? ''}`,
    { subject, expectedRevision, actualRevision: found },
  );
}

function scheduledResult(entry: Schedule, earlier: CommitResult['scheduled'][number]): Published {
  if (earlier === null) return { id: entry.event.id, position: null, duplicate: false, scheduledMs: entry.dueMs };
  const position = earlier.position > 0 ? earlier.position : null;
  return { id: entry.event.id, position, duplicate: true, scheduledMs: position === null ? earlier.dueMs : null };
}
