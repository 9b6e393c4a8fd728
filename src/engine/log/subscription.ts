import {
  carillonError,
  assert,
  fifo,
  type AttemptRecord,
  type Event,
  type Fifo,
  type Timer,
} from '../../core/index.ts';
import type {
  AppendUnit,
  Delivery,
  Demand,
  EngineSubscription,
  EngineSubscriptionState,
  EngineTransaction,
  Settlement,
  SubscriptionSpec,
} from '../engine.ts';
import { crashRecord, crashRecords, keepRecords } from './attempt-records.ts';
import { dueQueue, type DueQueue } from './due-queue.ts';
import { HeldKeys } from './held-keys.ts';
import { LogDelivery } from './log-delivery.ts';
import { eventOf, keyOfRow } from './rows.ts';
import { decodePlace, encodePlace, type OpenPosition } from './state-codec.ts';
import type { DeliveryRow, DeliveryState, EventRow, LogStore, StoredSubscription } from './store.ts';
import { openTransaction } from './transaction.ts';
import type { LogWriter, StateSource } from './writer.ts';

/**
 * A durable subscription on a log: turns positions into deliveries under a lease, and settlements back into a place
 * in the log that survives a crash. Delivery states are those of the port (engine.ts); here is what each of them
 * leaves on disk, so that a crash at any moment hands out again what it must and nothing else.
 *
 * - `readUpTo`: every position up to it has been looked at. It is settled, unless it is in `open` or has a row.
 * - `open`: handed out from the log and not settled, each with the attempts counted. Bounded by what the dispatcher
 *   holds in memory (`limits.readAheadMax`).
 * - `mark`: a promise made in advance. Positions above `readUpTo` up to the mark may be begun as soon as they are
 *   committed, without another write: after a crash they count as tried once. It is written with the very commit that
 *   appends them, which is what makes an attempt cost nothing in the good case. It never falls while running.
 * - a delivery row: exists from the first failed attempt on (`retrying`, `begun`), for deliveries `held` behind such a
 *   one of their key, and for `dead` letters. A good delivery never has one.
 *
 * On open: `open` positions with an attempt counted, positions up to the mark, and rows in `begun` were cut short by
 * a crash: that attempt is in their record (`CARILLON_CRASHED`) and they are handed out again. `open` positions
 * without one are handed out as if nothing had been.
 */

/** Log positions looked at for one hand-out before others get a turn. */
const SCAN_STEP = 4096;
/** Deliveries of one key taken from disk at a time once it is free again. */
const HELD_PAGE = 64;
/** Rows read from the log at a time when a subscription is behind the events kept in memory. */
const READ_PAGE = 2048;

/** Shared by all deliveries that have not failed: most. */
const noRecords: readonly AttemptRecord[] = [];

export class LogSubscription implements EngineSubscription, StateSource {
  readonly no: number;
  readonly name: string;
  readonly spec: SubscriptionSpec;
  readonly writer: LogWriter;
  readonly store: LogStore;

  readUpTo: number;
  mark: number;
  durableMark: number;
  /** `readUpTo` as the last snapshot had it. */
  writtenUpTo: number;
  snapshotToken = 0;
  sentMarks: Map<number, number> = new Map();

  /** Handed out, or about to be again after a crash. Those from the log itself ascend by position. */
  open: Map<number, LogDelivery> = new Map();
  /** Size of their data, in UTF-16 units. */
  openSize = 0;
  reopened: Fifo<LogDelivery> = fifo();
  due: DueQueue = dueQueue();
  held: HeldKeys = new HeldKeys();
  /** Changes of rows told to the writer, and how many of them are known to be durable: reads of rows wait for the rest. */
  rowsTold = 0;
  rowsDurable = 0;

  demand: Demand = { max: 0, begun: 0 };
  pulling = false;
  closed = false;
  wakeUp: (() => void) | null = null;
  timer: Timer | null = null;
  onClosed: () => void;
  catchingUp: { readonly position: number; readonly resolve: () => void }[] = [];

  constructor(writer: LogWriter, spec: SubscriptionSpec, stored: StoredSubscription, onClosed: () => void) {
    this.writer = writer;
    this.store = writer.store;
    this.spec = spec;
    this.name = spec.name;
    this.no = stored.no;
    this.readUpTo = Math.max(0, stored.start);
    this.mark = this.readUpTo;
    this.durableMark = this.readUpTo;
    this.writtenUpTo = this.readUpTo;
    this.onClosed = onClosed;
  }

  /** Takes up where the last run left off: see the head of this file. */
  async recover(state: Uint8Array | null): Promise<void> {
    const nowMs = this.writer.clock.now();
    if (state !== null) {
      const place = decodePlace(state);
      await this.reopen(place.open, nowMs);
      // Fixed now: what is appended while this waits is not marked, and must be looked at like anything new.
      const marked = Math.min(place.mark, this.writer.last);
      await this.reopenMarked(place.readUpTo, marked, nowMs);
      this.readUpTo = Math.max(place.readUpTo, marked);
      this.mark = Math.max(this.readUpTo, place.mark);
    }
    await this.recoverRows(nowMs);
    this.writer.sources.add(this);
    this.writer.touch(this);
    await this.writer.commitNow();
    this.setTimer();
  }

  async reopen(positions: readonly OpenPosition[], nowMs: number): Promise<void> {
    for (const { position, attempts } of positions) {
      const { rows } = await this.store.read({ after: position - 1, upTo: position, limit: 1, scanMax: 1 });
      if (rows[0]) this.addReopened(rows[0], attempts, nowMs);
    }
  }

  async reopenMarked(from: number, upTo: number, nowMs: number): Promise<void> {
    let after = from;
    while (after < upTo) {
      const page = await this.store.read({ after, upTo, limit: READ_PAGE, scanMax: READ_PAGE });
      for (const row of page.rows) {
        if (this.wants(row, null)) this.addReopened(row, 1, nowMs);
      }
      after = page.scannedTo;
    }
  }

  addReopened(row: EventRow, attempts: number, nowMs: number): void {
    const records = crashRecords(attempts, nowMs, this.writer.limits);
    const delivery = new LogDelivery(row, this.keyOf(row), attempts, records);
    this.enter(delivery);
    this.reopened.push(delivery);
  }

  async recoverRows(nowMs: number): Promise<void> {
    const waiting = new Set<string>();
    for (const { key, held, holding } of await this.store.heldKeys(this.no)) {
      this.held.restore(key, held, holding);
      if (held > 0) waiting.add(key);
    }
    const limit = Number.MAX_SAFE_INTEGER;
    const query = { subscription: this.no, states: ['retrying', 'begun'] as const, limit, withEvents: false };
    const failing = new Set<string>();
    for (const row of await this.store.readDeliveries(query)) {
      const { key } = row;
      // Attempts are counted ahead, so several of one key may have been begun, and not all before those that wait.
      const waits = key !== null && (waiting.has(key) || failing.has(key));
      if (row.state === 'begun') this.recoverBegun(row, waits, nowMs);
      else this.recoverRetry(row);
      if (key !== null && this.due.has(row.position)) failing.add(key);
    }
  }

  /** Cut short by a crash: tried again now, or in its turn when others of its key are there. */
  recoverBegun(row: DeliveryRow, waits: boolean, nowMs: number): void {
    const records = keepRecords(row.records, crashRecord(row.attempts, nowMs), this.writer.limits);
    const recovered: DeliveryRow = { ...row, state: waits ? 'held' : 'retrying', atMs: nowMs, records };
    this.put(recovered);
    if (waits) this.held.hold(row.key as string);
    else this.recoverRetry(recovered);
  }

  recoverRetry(row: DeliveryRow): void {
    this.due.set(row.position, row.atMs);
    this.held.fail(row.key);
  }

  enter(delivery: LogDelivery): void {
    this.open.set(delivery.position, delivery);
    this.openSize += delivery.row.data?.length ?? 0;
  }

  leave(delivery: LogDelivery): void {
    const wasCrowded = this.crowded;
    this.open.delete(delivery.position);
    this.openSize -= delivery.row.data?.length ?? 0;
    if (wasCrowded && !this.crowded) this.wake();
  }

  /** Whether what is handed out is so large that no more should be read into memory. */
  get crowded(): boolean {
    return this.openSize >= this.writer.limits.readAheadBytesMax;
  }

  keyOf(row: EventRow): string | null {
    if (this.spec.order === 'key') return keyOfRow(row);
    return this.spec.order === 'total' ? '' : null;
  }

  wants(row: EventRow, event: Event | null): boolean {
    if (!this.spec.wantsType(row.type)) return false;
    return this.spec.passes === null || this.spec.passes(event ?? eventOf(row));
  }

  // Hand-out.

  async pull(demand: Demand, take: (deliveries: readonly Delivery[]) => void): Promise<void> {
    assert(!this.pulling, `subscription ${this.name} was pulled twice at once`);
    this.pulling = true;
    this.demand = demand;
    try {
      for (;;) {
        if (this.closed) return;
        if (this.writer.failure) throw this.writer.failure;
        const sleep = this.sleep();
        const gathered = await this.gather(demand);
        const handed = gathered.filter((delivery) => this.mayHandOut(delivery));
        if (this.catchingUp.length > 0) this.checkCaughtUp();
        if (handed.length > 0) return take(handed);
        await sleep;
      }
    } finally {
      this.pulling = false;
      this.wakeUp = null;
    }
  }

  /** A promise that resolves when there may be something new. Made before looking, so that nothing is missed between. */
  sleep(): Promise<void> {
    return new Promise((resolve) => {
      this.wakeUp = resolve;
    });
  }

  wake(): void {
    this.wakeUp?.();
  }

  appended(): void {
    this.wakeUp?.();
  }

  async gather(demand: Demand): Promise<LogDelivery[]> {
    const handed: LogDelivery[] = [];
    if (this.catchingUp.length > 0) this.checkCaughtUp();
    while (this.reopened.length > 0 && handed.length < demand.max) {
      const delivery = this.reopened.shift() as LogDelivery;
      if (delivery.key !== null && this.held.isHeld(delivery.key)) this.hold(delivery);
      else handed.push(delivery);
    }
    if (this.due.size > 0 && handed.length < demand.max) await this.takeDue(demand.max - handed.length, handed);
    if (this.held.hasFree() && handed.length < demand.max) await this.takeHeld(demand.max - handed.length, handed);
    if (handed.length < demand.max && this.reopened.length === 0) await this.takeTail(demand, handed);
    return handed;
  }

  /** While others were looked up, a failure may have held back the key of one: it waits after all. */
  mayHandOut(delivery: LogDelivery): boolean {
    const { key, part } = delivery;
    const waits = key !== null && part !== 'failing' && this.held.mustWait(key, part === 'waiting');
    if (waits) this.giveBack(delivery);
    else delivery.leased = true;
    return !waits;
  }

  async rowsWritten(): Promise<void> {
    const told = this.rowsTold;
    if (this.rowsDurable >= told) return;
    await this.writer.commitNow();
    this.rowsDurable = Math.max(this.rowsDurable, told);
  }

  async takeDue(max: number, handed: LogDelivery[]): Promise<void> {
    const positions = this.due.take(this.writer.clock.now(), max);
    this.setTimer();
    if (positions.length === 0) return;
    await this.rowsWritten();
    const limit = positions.length;
    const states = ['retrying'] as const;
    const rows = await this.store.readDeliveries({ subscription: this.no, states, positions, limit, withEvents: true });
    // Closed meanwhile: they stay as they are on disk.
    if (this.closed) return;
    for (const row of rows) this.takeRow(row, handed);
  }

  async takeHeld(max: number, handed: LogDelivery[]): Promise<void> {
    await this.rowsWritten();
    let left = max;
    for (let key = this.held.nextFree(); key !== null && left > 0; key = this.held.nextFree()) {
      const limit = Math.min(left, HELD_PAGE);
      const states = ['held'] as const;
      const rows = await this.store.readDeliveries({ subscription: this.no, states, key, limit, withEvents: true });
      if (this.closed) return;
      this.held.handOut(key, rows.length);
      for (const row of rows) this.takeRow(row, handed);
      left -= rows.length;
    }
  }

  takeRow(row: DeliveryRow, handed: LogDelivery[]): void {
    if (!row.event) {
      // Retention took the event: there is nothing left to handle.
      this.remove(row.position);
      if (row.state === 'held') this.held.settleWaiting(row.key);
      else this.held.recover(row.key);
      return;
    }
    const delivery = new LogDelivery(row.event, row.key, row.attempts, row.records);
    delivery.stored = row.state;
    delivery.part = row.state === 'held' ? 'waiting' : 'failing';
    delivery.edited = row.data;
    this.enter(delivery);
    handed.push(delivery);
  }

  /** Whether reading on would hold back more than memory should remember. */
  get stalled(): boolean {
    if (this.spec.order === 'total' && this.held.size > 0) return true;
    return this.held.size + this.due.size >= this.writer.limits.blockedKeysMax;
  }

  mayReadOn(demand: Demand, handed: readonly LogDelivery[]): boolean {
    return handed.length < demand.max && !this.crowded && !this.stalled && !this.closed;
  }

  async takeTail(demand: Demand, handed: LogDelivery[]): Promise<void> {
    while (this.mayReadOn(demand, handed) && this.readUpTo < this.writer.last) {
      if (this.writer.recent.covers(this.readUpTo)) {
        this.takeRecent(demand, handed);
        if (handed.length === 0) continue;
        return;
      }
      if (handed.length > 0) return;
      const page = await this.store.read({
        after: this.readUpTo,
        upTo: this.writer.last,
        limit: Math.min(READ_PAGE, demand.max),
        scanMax: SCAN_STEP,
      });
      if (this.closed) return;
      for (const row of page.rows) this.look(row, null, demand, handed);
      if (!this.stalled) this.moveTo(page.scannedTo);
    }
  }

  takeRecent(demand: Demand, handed: LogDelivery[]): void {
    const { recent } = this.writer;
    for (let index = recent.indexAfter(this.readUpTo); this.mayReadOn(demand, handed); index++) {
      const next = recent.at(index);
      if (!next) return;
      this.look(next, next.fresh, demand, handed);
    }
  }

  /** Looks at the next event of the log: passes it over, holds it, or hands it out. */
  look(row: EventRow, event: Event | null, demand: Demand, handed: LogDelivery[]): void {
    if (this.stalled) return;
    this.moveTo(row.position);
    if (!this.wants(row, event)) return;
    const key = this.keyOf(row);
    const delivery = new LogDelivery(row, key, 0, noRecords);
    this.enter(delivery);
    if (key !== null && this.held.size > 0 && this.held.isHeld(key)) return this.hold(delivery);
    if (row.position <= this.durableMark && handed.length < demand.begun) {
      delivery.begun = true;
      delivery.counted = true;
      delivery.attempts = 1;
    }
    handed.push(delivery);
    this.writer.touch(this);
  }

  moveTo(position: number): void {
    if (position <= this.readUpTo) return;
    this.readUpTo = position;
    // Positions passed over need no write of their own, but the mark must stay ahead.
    if (position - this.writtenUpTo > (this.mark - this.writtenUpTo) / 2) this.writer.touch(this);
  }

  // Settling.

  async begin(deliveries: readonly Delivery[]): Promise<void> {
    const counted = deliveries.map((given) => this.leasedOne(given));
    for (const delivery of counted) {
      delivery.counted = true;
      delivery.attempts++;
      if (delivery.stored !== null) {
        delivery.stored = 'begun';
        this.put(this.rowFor(delivery, 'begun', this.writer.clock.now()));
      }
    }
    this.writer.touch(this);
    await this.writer.commitNow();
    // Not before: whoever has the delivery may run it as soon as it says that it has begun.
    for (const delivery of counted) delivery.begun = delivery.counted;
  }

  leasedOne(given: Delivery): LogDelivery {
    const delivery = this.open.get(given.position);
    if (delivery !== given || !delivery.leased) {
      throw carillonError('CARILLON_LEASE_LOST', `position ${given.position} is not leased any more`, {
        subscription: this.name,
        position: given.position,
      });
    }
    return delivery;
  }

  settle(given: Delivery, settlement: Settlement): void {
    const delivery = this.leasedOne(given);
    delivery.leased = false;
    this.apply(delivery, settlement);
    if (this.catchingUp.length > 0) this.checkCaughtUp();
  }

  apply(delivery: LogDelivery, settlement: Settlement): void {
    switch (settlement.type) {
      case 'ack':
      case 'expired':
        return this.end(delivery);
      case 'retry':
        return this.retry(delivery, settlement.dueMs, settlement.record);
      case 'dead':
        return this.die(delivery, settlement.record, settlement.keep);
      case 'held':
        return this.giveBack(delivery);
      case 'released':
        return this.release(delivery);
    }
  }

  /** The delivery is over, and its key goes on. */
  end(delivery: LogDelivery): void {
    this.leave(delivery);
    if (delivery.stored !== null) {
      this.remove(delivery.position);
      this.freeKey(delivery);
    }
    this.writer.touch(this);
  }

  freeKey(delivery: LogDelivery): void {
    if (delivery.part === 'failing') this.held.recover(delivery.key);
    else if (delivery.part === 'waiting') this.held.settleWaiting(delivery.key);
    if (this.held.hasFree() || this.spec.order === 'total') this.wake();
  }

  retry(delivery: LogDelivery, dueMs: number, record: AttemptRecord): void {
    this.noteFailure(delivery);
    this.leave(delivery);
    const records = keepRecords(delivery.records, record, this.writer.limits);
    this.put({ ...this.rowFor(delivery, 'retrying', dueMs), records });
    this.due.set(delivery.position, dueMs);
    this.setTimer();
    this.writer.touch(this);
  }

  /** Its key is held back from now on, unless it was already because of this delivery. */
  noteFailure(delivery: LogDelivery): void {
    if (delivery.part === 'failing') return;
    this.held.fail(delivery.key);
    if (delivery.part === 'waiting') this.held.settleWaiting(delivery.key);
  }

  die(delivery: LogDelivery, record: AttemptRecord | null, keep: boolean): void {
    const holds = keep && this.spec.hold && delivery.key !== null;
    if (!keep) return this.end(delivery);
    this.leave(delivery);
    const records = record ? keepRecords(delivery.records, record, this.writer.limits) : delivery.records;
    if (holds) this.held.startHolding(delivery.key);
    this.freeKey(delivery);
    this.put({ ...this.rowFor(delivery, 'dead', this.writer.clock.now()), records, holds });
    this.writer.touch(this);
  }

  /** Its key is held back by an earlier one, found out after it was handed out. */
  giveBack(delivery: LogDelivery): void {
    this.uncount(delivery);
    if (delivery.stored === null) return this.hold(delivery);
    this.leave(delivery);
    if (delivery.stored !== 'held') this.put(this.rowFor(delivery, 'held', this.writer.clock.now()));
    if (delivery.part === 'waiting') return this.held.takeBack(delivery.key);
    // One of several that failed: now it waits behind the other.
    this.held.hold(delivery.key as string);
    this.held.recover(delivery.key);
  }

  /** Takes back an attempt that never ran; whether one was counted. */
  uncount(delivery: LogDelivery): boolean {
    const { counted } = delivery;
    if (counted) delivery.attempts--;
    delivery.counted = false;
    delivery.begun = false;
    return counted;
  }

  /** Leaves a delivery of a held key on disk until the key is free. */
  hold(delivery: LogDelivery): void {
    this.leave(delivery);
    this.held.hold(delivery.key as string);
    this.put(this.rowFor(delivery, 'held', this.writer.clock.now()));
    this.writer.touch(this);
  }

  /** Hands back a delivery whose attempt never ran, for the next start. */
  release(delivery: LogDelivery): void {
    if (this.uncount(delivery)) {
      const state = delivery.part === 'waiting' ? 'held' : 'retrying';
      if (delivery.stored === 'begun') this.put(this.rowFor(delivery, state, this.writer.clock.now()));
    }
    this.writer.touch(this);
  }

  async settleWith(given: readonly Delivery[], units: readonly AppendUnit[]): Promise<void> {
    const deliveries = given.map((one) => this.leasedOne(one));
    const appended = units.map((unit) => this.writer.appendJoined(unit));
    for (const delivery of deliveries) this.settle(delivery, { type: 'ack' });
    await Promise.all(appended);
  }

  transaction(given: readonly Delivery[]): Promise<EngineTransaction> {
    const deliveries = given.map((one) => this.leasedOne(one));
    return openTransaction(this.writer, {
      settle: () => deliveries.forEach((delivery) => this.settle(delivery, { type: 'ack' })),
      restore: () => deliveries.forEach((delivery) => this.unsettle(delivery)),
    });
  }

  /** Undoes an acknowledgement whose commit failed: the attempt goes on to fail. */
  unsettle(delivery: LogDelivery): void {
    delivery.leased = true;
    this.enter(delivery);
    this.open = new Map([...this.open].sort(([a], [b]) => a - b));
    if (delivery.stored !== null) this.writer.keepRow(this.no, delivery.position);
    if (delivery.part === 'waiting') this.held.restoreWaiting(delivery.key as string);
    else if (delivery.part === 'failing') this.held.fail(delivery.key);
    this.writer.touch(this);
  }

  // Rows.

  rowFor(delivery: LogDelivery, state: DeliveryState, atMs: number): DeliveryRow {
    return {
      subscription: this.no,
      position: delivery.position,
      state,
      key: delivery.key,
      attempts: delivery.attempts,
      atMs,
      holds: false,
      records: delivery.records,
      data: delivery.edited,
    };
  }

  put(row: DeliveryRow): void {
    this.rowsTold++;
    this.writer.putRow(row);
  }

  remove(position: number): void {
    this.rowsTold++;
    this.writer.removeRow(this.no, position);
  }

  /** A dead letter is to be delivered again. Its row is written already. */
  redriven(row: DeliveryRow, dueMs: number): void {
    this.rowsTold++;
    this.held.fail(row.key);
    if (row.holds) this.held.stopHolding(row.key as string);
    this.due.set(row.position, dueMs);
    this.setTimer();
    this.wake();
  }

  /** A dead letter is forgotten. Its row is removed already. */
  discarded(row: DeliveryRow): void {
    this.rowsTold++;
    if (!row.holds) return;
    this.held.stopHolding(row.key as string);
    this.wake();
  }

  setTimer(): void {
    this.timer?.cancel();
    this.timer = null;
    const nextMs = this.due.nextMs();
    if (nextMs === null || this.closed) return;
    this.timer = this.writer.clock.setTimer(Math.max(0, nextMs - this.writer.clock.now()), () => this.wake());
  }

  // The state on disk.

  snapshot(): Uint8Array {
    this.mark = this.closed ? this.readUpTo : Math.max(this.mark, this.readUpTo + this.demand.begun);
    this.writtenUpTo = this.readUpTo;
    this.sentMarks.set(++this.snapshotToken, this.mark);
    return encodePlace(this.readUpTo, this.mark, this.openPositions());
  }

  *openPositions(): Iterable<OpenPosition> {
    for (const delivery of this.open.values()) {
      if (delivery.stored === null) yield delivery;
    }
  }

  snapshotDurable(token: number): void {
    this.durableMark = this.sentMarks.get(token) as number;
    this.sentMarks.delete(token);
  }

  snapshotLost(): void {
    this.sentMarks.clear();
  }

  // Telling and ending.

  caughtUp(position: number): Promise<void> {
    if (this.isCaughtUp(position)) return Promise.resolve();
    return new Promise((resolve) => this.catchingUp.push({ position, resolve }));
  }

  isCaughtUp(position: number): boolean {
    if (this.closed) return true;
    if (this.readUpTo < position && !this.stalled) return false;
    for (const open of this.open.keys()) if (open <= position) return false;
    return true;
  }

  checkCaughtUp(): void {
    this.catchingUp = this.catchingUp.filter(({ position, resolve }) => {
      if (!this.isCaughtUp(position)) return true;
      resolve();
      return false;
    });
  }

  async state(): Promise<EngineSubscriptionState> {
    await this.rowsWritten();
    const { held, dead } = await this.store.deliveryCounts(this.no);
    return {
      position: this.readUpTo,
      last: this.writer.last,
      open: this.open.size,
      retrying: this.due.size,
      held,
      dead,
      stalled: this.stalled,
    };
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.timer?.cancel();
    this.wake();
    this.checkCaughtUp();
    try {
      if (this.writer.failure) return;
      this.writer.touch(this);
      await this.writer.commitOnce();
    } finally {
      this.writer.sources.delete(this);
      this.writer.dirty.delete(this);
      this.onClosed();
    }
  }
}
