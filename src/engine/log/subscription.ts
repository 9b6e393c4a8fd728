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
  LeaseHolder,
  Outcome,
  Settlement,
  SubscriptionSpec,
} from '../engine.ts';
import { encodeOutcome } from './answers.ts';
import { keepRecords } from './attempt-records.ts';
import { dueQueue, type DueQueue } from './due-queue.ts';
import { HeldKeys } from './held-keys.ts';
import { LogDelivery } from './log-delivery.ts';
import { recoverRows, reopen, type LeftBehind, type Recovery } from './recovery.ts';
import { eventOf, keyOfRow } from './rows.ts';
import { Share, type StoredShare } from './share.ts';
import type { Arrangement, Part, RowChange } from './sharing.ts';
import { slotOf, SlotSet } from './slots.ts';
import { decodePlace, encodePlace, type OpenPosition, type PlaceInLog } from './state-codec.ts';
import type { LogStore, StateWrite, StoredSubscription } from './store.ts';
import type { DeliveryRow, DeliveryState, EventRow } from './stored.ts';
import { openTransaction, transactionBeside } from './transaction.ts';
import type { ArrangingSource, LogWriter } from './writer.ts';

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
 *   appends them, which is what makes an attempt cost nothing in the good case.
 * - a delivery row: exists from the first failed attempt on (`retrying`, `begun`), for deliveries `held` behind such a
 *   one of their key, and for `dead` letters. A good delivery never has one.
 *
 * What an earlier process left behind is taken up again as recovery.ts says: all of it at once where one process has the
 * log for itself. Where several share it, what a process has of a subscription is a {@link Share}: slots come (`acquire`),
 * go (`leave`, then `arrange`) or are lost all at once (`lose`), and each takes along what is open, due and held of it.
 */

/** Log positions looked at for one hand-out before others get a turn. */
const SCAN_STEP = 4096;
/** Deliveries of one key taken from disk at a time once it is free again. */
const HELD_PAGE = 64;
/** Rows read from the log at a time when a subscription is behind the events kept in memory. */
const READ_PAGE = 2048;

/** Of the place that is written with an arrangement: the first one of its share. */
const ARRANGED_VERSION = 1;

const nobody: LeaseHolder = { release: () => undefined, lost: () => undefined, renewed: () => undefined };

/** Shared by all deliveries that have not failed: most. */
const noRecords: readonly AttemptRecord[] = [];

export class LogSubscription implements EngineSubscription, ArrangingSource {
  readonly no: number;
  readonly name: string;
  readonly spec: SubscriptionSpec;
  readonly writer: LogWriter;
  readonly store: LogStore;
  /** What it reads of a log that it shares; null where it reads all of it. */
  readonly share: Share | null;
  holder: LeaseHolder = nobody;

  readUpTo: number;
  mark: number;
  durableMark: number;
  /** `readUpTo` as the last snapshot had it. */
  writtenUpTo: number;
  snapshotToken = 0;
  sentMarks: Map<number, number> = new Map();
  /** The mark that was written with the last arrangement. */
  arrangedMark = 0;

  /** Handed out, or about to be again after a crash. Those from the log itself ascend by position; where slots come and go, not always. */
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
  /** How often it has lost all: what was asked for before that is answered too late. */
  losses = 0;
  wakeUp: (() => void) | null = null;
  timer: Timer | null = null;
  onClosed: () => void;
  catchingUp: { readonly position: number; readonly resolve: () => void }[] = [];
  /** Resolves once nothing of the slots that are leaving is handed out any more. */
  left: (() => void) | null = null;

  constructor(writer: LogWriter, spec: SubscriptionSpec, stored: StoredSubscription, onClosed: () => void) {
    this.writer = writer;
    this.store = writer.store;
    this.spec = spec;
    this.name = spec.name;
    this.no = stored.no;
    this.share = writer.shared ? new Share() : null;
    // Without a slot of its own there is nothing to be read yet.
    this.readUpTo = this.share ? writer.last : Math.max(0, stored.start);
    this.mark = this.readUpTo;
    this.durableMark = this.readUpTo;
    this.writtenUpTo = this.readUpTo;
    this.onClosed = onClosed;
  }

  // Taking up what an earlier process left behind.

  /** All of it: this process has the log for itself. */
  async recover(state: Uint8Array | null): Promise<void> {
    const recovery = this.recoveryOf(() => true);
    if (state !== null) {
      const place = decodePlace(state);
      // Fixed now: what is appended while this waits is not marked, and must be looked at like anything new.
      const marked = Math.min(place.mark, this.writer.last);
      this.reopenAll(await reopen(recovery, place, marked));
      this.readUpTo = Math.max(place.readUpTo, marked);
      this.mark = Math.max(this.readUpTo, place.mark);
    }
    const keys = await this.store.heldKeys(this.no);
    const limit = Number.MAX_SAFE_INTEGER;
    const states = ['retrying', 'begun'] as const;
    const rows = await this.store.readDeliveries({ subscription: this.no, states, limit, withEvents: false });
    this.takeUp({ reopened: [], rows: recoverRows(recovery, rows, keys), keys, acked: [] });
    await this.recovered();
  }

  /** Shares that this process holds from now on. */
  async acquire(shares: readonly StoredShare[]): Promise<void> {
    const { sharing } = this.store;
    assert(this.share !== null && sharing !== null, `subscription ${this.name} is not shared`);
    const { losses } = this;
    const slots = new SlotSet(shares.flatMap((share) => share.slots));
    const remains = await sharing.remains(this.no, [...slots]);
    const acked = new Set(remains.rows.filter(({ state }) => state === 'acked').map(({ position }) => position));
    const recovery = this.recoveryOf((row) => slots.has(row.slot) && !acked.has(row.position));
    const places: Map<number, number>[] = [];
    const reopened: LogDelivery[] = [];
    for (const share of shares) {
      const place = placeOf(share);
      const marked = Math.min(place.mark, share.reached);
      const own = new SlotSet(share.slots);
      const ofShare = { ...recovery, wants: (row: EventRow) => own.has(row.slot) && recovery.wants(row) };
      reopened.push(...(await reopen(ofShare, place, marked)));
      const readTo = (slot: number): number => Math.max(place.slots.get(slot) ?? place.readUpTo, marked);
      places.push(new Map(share.slots.map((slot) => [slot, readTo(slot)])));
    }
    if (this.closed || losses !== this.losses) return;
    shares.forEach((share, index) => this.place(share, places[index] as Map<number, number>));
    const rows = recoverRows(
      recovery,
      remains.rows.filter(({ state }) => state !== 'acked'),
      remains.keys,
    );
    this.takeUp({ reopened, rows, keys: remains.keys, acked: [...acked] });
    await this.recovered();
  }

  recoveryOf(inSlot: (row: EventRow) => boolean): Recovery {
    const { clock, limits } = this.writer;
    return {
      store: this.store,
      limits,
      nowMs: clock.now(),
      wants: (row) => inSlot(row) && this.wants(row, null),
      keyOf: (row) => this.keyOf(row),
    };
  }

  /** The cursor stands where the slots that were acquired want it. */
  place(share: StoredShare, places: ReadonlyMap<number, number>): void {
    const from = (this.share as Share).acquire(share, places, this.readUpTo);
    this.readUpTo = from;
    this.writtenUpTo = Math.min(this.writtenUpTo, from);
    // No place written so far promises anything of these slots; what was begun of the others is in `open`.
    this.sentMarks.clear();
    this.durableMark = from;
    this.mark = from;
  }

  takeUp({ reopened, rows, keys, acked }: LeftBehind): void {
    this.reopenAll(reopened);
    for (const { key, held, holding } of keys) this.held.restore(key, held, holding);
    for (const { row, changed } of rows) {
      if (changed) this.put(row);
      if (row.state === 'held') this.held.hold(row.key as string);
      else {
        this.due.set(row.position, row.atMs, row.slot);
        this.held.fail(row.key);
      }
    }
    for (const position of acked) this.remove(position);
  }

  reopenAll(deliveries: readonly LogDelivery[]): void {
    for (const delivery of deliveries) {
      this.enter(delivery);
      this.reopened.push(delivery);
    }
  }

  async recovered(): Promise<void> {
    this.writer.sources.add(this);
    this.writer.touch(this);
    await this.writer.commitNow();
    this.setTimer();
    this.wake();
  }

  enter(delivery: LogDelivery): void {
    this.open.set(delivery.position, delivery);
    this.openSize += delivery.row.data?.length ?? 0;
  }

  leaveOpen(delivery: LogDelivery): void {
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

  // Giving up slots.

  hold(holder: LeaseHolder): void {
    this.holder = holder;
  }

  get leased(): boolean {
    return this.writer.leased();
  }

  /** Hands out nothing more of these slots, and resolves when what was handed out of them has come back. */
  async leave(slots: readonly number[]): Promise<void> {
    const share = this.share as Share;
    assert(this.left === null, `slots of ${this.name} are leaving already`);
    share.leave(slots, this.readUpTo);
    const leaving = new SlotSet(slots);
    this.due.forget(leaving);
    this.held.forget((key) => this.spec.order === 'total' || leaving.has(slotOf(key)));
    for (const delivery of this.reopened.drain()) if (this.reads(delivery)) this.reopened.push(delivery);
    this.setTimer();
    const left = new Promise<void>((resolve) => {
      this.left = resolve;
    });
    this.holder.release((delivery) => !this.reads(delivery as LogDelivery));
    this.checkLeft();
    await left;
  }

  checkLeft(): void {
    if (this.left === null) return;
    for (const delivery of this.open.values()) if (delivery.leased && !this.reads(delivery)) return;
    this.left();
    this.left = null;
  }

  /** Whether the slot of a delivery is read here, and will be. */
  reads({ row }: LogDelivery): boolean {
    return this.readsSlot(row.slot);
  }

  readsSlot(slot: number): boolean {
    return this.share === null || (this.share.owned.has(slot) && !this.share.leaving.has(slot));
  }

  /** What it holds, as one share, and what it gives up, as another. */
  arrange(): Omit<Arrangement, 'subscription'> {
    const share = this.share as Share;
    const staying = [...share.owned].filter((slot) => !share.leaving.has(slot));
    const leaving = [...share.leaving.keys()];
    const part = (slots: readonly number[], mark: number): Part | null =>
      slots.length === 0 ? null : { slots, state: this.encode(new SlotSet(slots), mark) };
    this.arrangedMark = this.raisedMark();
    this.writtenUpTo = this.readUpTo;
    return {
      held: share.held.map(({ no }) => no),
      kept: part(staying, this.closed ? 0 : this.arrangedMark),
      freed: part(leaving, 0),
    };
  }

  arranged(no: number | null): void {
    const share = this.share as Share;
    for (const delivery of this.open.values()) if (!this.reads(delivery)) this.leaveOpen(delivery);
    share.becomes(no, ARRANGED_VERSION);
    if (no !== null) this.durableMark = this.arrangedMark;
    this.wake();
  }

  /** This process was taken for dead: others have all of it. */
  lose(): void {
    this.losses++;
    this.holder.lost();
    this.open.clear();
    this.openSize = 0;
    this.reopened.drain();
    this.due = dueQueue();
    this.held = new HeldKeys();
    this.sentMarks.clear();
    this.rowsDurable = this.rowsTold;
    this.timer?.cancel();
    this.share?.lose();
    this.left?.();
    this.left = null;
    this.checkCaughtUp();
    this.wake();
  }

  /** Somebody else has changed a row of a slot that is held here. */
  changed({ kind, row, atMs }: RowChange): void {
    if (kind === 'redrive') this.redriven(row, atMs);
    else this.discarded(row);
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
    if (this.share !== null && this.share.ahead.size > 0) this.share.passed(this.readUpTo);
    if (this.incomplete) return handed;
    while (this.reopened.length > 0 && handed.length < demand.max) {
      const delivery = this.reopened.shift() as LogDelivery;
      if (delivery.key !== null && this.held.isHeld(delivery.key)) this.holdBack(delivery);
      else handed.push(delivery);
    }
    if (this.due.size > 0 && handed.length < demand.max) await this.takeDue(demand.max - handed.length, handed);
    if (this.held.hasFree() && handed.length < demand.max) await this.takeHeld(demand.max - handed.length, handed);
    await this.takeTail(demand, handed);
    return handed;
  }

  /** Total order is kept by who has all of it: a process that has some waits for the rest. */
  get incomplete(): boolean {
    return this.spec.order === 'total' && this.share !== null && this.share.owned.size > 0 && !this.share.whole;
  }

  /**
   * While others were looked up, a failure may have held back the key of one: it waits after all. Or its slot is
   * leaving: its row, or its place in `open`, goes along.
   */
  mayHandOut(delivery: LogDelivery): boolean {
    if (this.open.get(delivery.position) !== delivery) return false;
    if (!this.reads(delivery)) {
      if (delivery.stored === null) this.uncount(delivery);
      else this.leaveOpen(delivery);
      return false;
    }
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
    const { due } = this;
    const rows = await this.store.readDeliveries({ subscription: this.no, states, positions, limit, withEvents: true });
    // Closed or lost meanwhile: they stay as they are on disk.
    if (this.closed || due !== this.due) return;
    for (const row of rows) this.takeRow(row, handed);
  }

  async takeHeld(max: number, handed: LogDelivery[]): Promise<void> {
    await this.rowsWritten();
    let left = max;
    for (let key = this.held.nextFree(); key !== null && left > 0; key = this.held.nextFree()) {
      const limit = Math.min(left, HELD_PAGE);
      const states = ['held'] as const;
      const { held } = this;
      const rows = await this.store.readDeliveries({ subscription: this.no, states, key, limit, withEvents: true });
      if (this.closed || held !== this.held) return;
      if (!held.isHeld(key)) continue;
      held.handOut(key, rows.length);
      for (const row of rows) this.takeRow(row, handed);
      left -= rows.length;
    }
  }

  takeRow(row: DeliveryRow, handed: LogDelivery[]): void {
    // Its slot has begun to leave since it was asked for.
    if (!this.readsSlot(row.slot)) return;
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
    if (handed.length >= demand.max || this.crowded || this.stalled || this.closed) return false;
    // Slots that came meanwhile bring what is to be handed out before anything that is read.
    return this.reopened.length === 0 && !this.incomplete;
  }

  async takeTail(demand: Demand, handed: LogDelivery[]): Promise<void> {
    while (this.mayReadOn(demand, handed) && this.readUpTo < this.writer.last) {
      if (this.writer.recent.covers(this.readUpTo)) {
        this.takeRecent(demand, handed);
        if (handed.length === 0) continue;
        return;
      }
      if (handed.length > 0) return;
      const after = this.readUpTo;
      const revision = this.share?.revision;
      const page = await this.store.read({
        after,
        upTo: this.writer.last,
        ...(this.share === null ? {} : { slots: [...this.share.owned] }),
        limit: Math.min(READ_PAGE, demand.max),
        scanMax: SCAN_STEP,
      });
      if (this.closed) return;
      // Slots were acquired or lost meanwhile: what was read is not what is to be read.
      if (revision !== this.share?.revision || this.incomplete) continue;
      for (const row of page.rows) this.look(row, null, demand, handed);
      if (!this.stalled) this.moveTo(page.scannedTo);
    }
  }

  takeRecent(demand: Demand, handed: LogDelivery[]): void {
    const { recent } = this.writer;
    for (let index = recent.indexAfter(this.readUpTo); this.mayReadOn(demand, handed); index++) {
      const next = recent.at(index);
      // Positions that were given out and taken back are at the end of the log now and then: there is nothing at them.
      if (!next) return this.moveTo(this.writer.last);
      this.look(next, next.fresh, demand, handed);
    }
  }

  /** Looks at the next event of the log: passes it over, holds it, or hands it out. */
  look(row: EventRow, event: Event | null, demand: Demand, handed: LogDelivery[]): void {
    if (this.stalled) return;
    this.moveTo(row.position);
    if (this.share !== null && !this.share.reads(row)) return;
    if (!this.wants(row, event)) return;
    const key = this.keyOf(row);
    const delivery = new LogDelivery(row, key, 0, noRecords);
    this.enter(delivery);
    if (key !== null && this.held.size > 0 && this.held.isHeld(key)) return this.holdBack(delivery);
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
    if (this.left !== null) this.checkLeft();
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
    this.leaveOpen(delivery);
    if (delivery.stored !== null) {
      this.remove(delivery.position);
      this.freeKey(delivery);
    }
    this.writer.touch(this);
  }

  freeKey(delivery: LogDelivery): void {
    if (!this.reads(delivery)) return;
    if (delivery.part === 'failing') this.held.recover(delivery.key);
    else if (delivery.part === 'waiting') this.held.settleWaiting(delivery.key);
    if (this.held.hasFree() || this.spec.order === 'total') this.wake();
  }

  retry(delivery: LogDelivery, dueMs: number, record: AttemptRecord): void {
    this.noteFailure(delivery);
    this.leaveOpen(delivery);
    const records = keepRecords(delivery.records, record, this.writer.limits);
    this.put({ ...this.rowFor(delivery, 'retrying', dueMs), records });
    this.writer.touch(this);
    // One whose slot is leaving is due elsewhere.
    if (!this.reads(delivery)) return;
    this.due.set(delivery.position, dueMs, delivery.row.slot);
    this.setTimer();
  }

  /** Its key is held back from now on, unless it was already because of this delivery. */
  noteFailure(delivery: LogDelivery): void {
    if (delivery.part === 'failing' || !this.reads(delivery)) return;
    this.held.fail(delivery.key);
    if (delivery.part === 'waiting') this.held.settleWaiting(delivery.key);
  }

  die(delivery: LogDelivery, record: AttemptRecord | null, keep: boolean): void {
    const holds = keep && this.spec.hold && delivery.key !== null;
    if (!keep) return this.end(delivery);
    this.leaveOpen(delivery);
    const records = record ? keepRecords(delivery.records, record, this.writer.limits) : delivery.records;
    if (holds && this.reads(delivery)) this.held.startHolding(delivery.key);
    this.freeKey(delivery);
    this.put({ ...this.rowFor(delivery, 'dead', this.writer.clock.now()), records, holds });
    this.writer.touch(this);
  }

  /** Its key is held back by an earlier one, found out after it was handed out. */
  giveBack(delivery: LogDelivery): void {
    this.uncount(delivery);
    if (delivery.stored === null) return this.holdBack(delivery);
    this.leaveOpen(delivery);
    if (delivery.stored !== 'held') this.put(this.rowFor(delivery, 'held', this.writer.clock.now()));
    if (!this.reads(delivery)) return;
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
  holdBack(delivery: LogDelivery): void {
    this.leaveOpen(delivery);
    if (this.reads(delivery)) this.held.hold(delivery.key as string);
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
    if (this.share !== null) {
      return transactionBeside(this.writer, {
        rows: () =>
          deliveries.map((delivery) => this.rowFor(this.leasedOne(delivery), 'acked', this.writer.clock.now())),
        settle: () => deliveries.forEach((delivery) => this.settleAcked(delivery)),
      });
    }
    return openTransaction(this.writer, {
      settle: () => deliveries.forEach((delivery) => this.settle(delivery, { type: 'ack' })),
      restore: () => deliveries.forEach((delivery) => this.unsettle(delivery)),
    });
  }

  /** Its acknowledgement is durable, as a row that goes once a place is written that has it settled. */
  settleAcked(delivery: LogDelivery): void {
    // Lost meanwhile: the row stands, and tells the next one.
    if (this.open.get(delivery.position) !== delivery) return;
    if (delivery.stored === null) this.remove(delivery.position);
    this.settle(delivery, { type: 'ack' });
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

  answer(given: Delivery, outcome: Outcome): void {
    const { askedBy: asker, source, id } = (given as LogDelivery).row;
    if (asker === null || asker === this.store.sharing?.asker) return;
    this.writer.answer({ asker, source, id, subscription: this.name, answer: encodeOutcome(outcome) });
  }

  // Rows.

  rowFor(delivery: LogDelivery, state: DeliveryState, atMs: number): DeliveryRow {
    return {
      subscription: this.no,
      position: delivery.position,
      slot: delivery.row.slot,
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
  redriven(row: RowChange['row'], dueMs: number): void {
    this.rowsTold++;
    this.held.fail(row.key);
    if (row.holds) this.held.stopHolding(row.key as string);
    this.due.set(row.position, dueMs, row.slot);
    this.setTimer();
    this.wake();
  }

  /** A dead letter is forgotten. Its row is removed already. */
  discarded(row: RowChange['row']): void {
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

  snapshot(): readonly StateWrite[] {
    this.raisedMark();
    this.writtenUpTo = this.readUpTo;
    this.sentMarks.set(++this.snapshotToken, this.mark);
    if (this.share === null) {
      const state = encodePlace(this.readUpTo, this.mark, this.openPositions(null));
      return [{ subscription: this.no, share: 0, version: 0, state }];
    }
    return this.share.held.map((held) => {
      // Closed, nothing was begun ahead of where each slot is read, though some are read further than others.
      const state = this.encode(held.slots, this.closed ? 0 : this.mark);
      return { subscription: this.no, share: held.no, version: ++held.version, state };
    });
  }

  /** The mark, ahead of what can run at once; closed, nothing is begun any more. */
  raisedMark(): number {
    this.mark = this.closed ? this.readUpTo : Math.max(this.mark, this.readUpTo + this.demand.begun);
    return this.mark;
  }

  /** The place of some slots. */
  encode(slots: SlotSet, mark: number): Uint8Array {
    const { readUpTo, slots: further } = (this.share as Share).placeOf(slots, this.readUpTo);
    return encodePlace(readUpTo, Math.max(readUpTo, mark), this.openPositions(slots), further);
  }

  /** What of `open` has no row, ascending. @param slots null for all */
  openPositions(slots: SlotSet | null): Iterable<OpenPosition> {
    return slots === null ? openOf(this.open.values(), slots) : inOrder([...openOf(this.open.values(), slots)]);
  }

  snapshotDurable(token: number): void {
    const mark = this.sentMarks.get(token);
    // Slots have come since: it says nothing of them.
    if (mark === undefined) return;
    this.durableMark = mark;
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
      if (this.share !== null) await this.store.sharing?.delist(this.no);
    } finally {
      this.writer.sources.delete(this);
      this.writer.dirty.delete(this);
      this.onClosed();
    }
  }
}

function* openOf(deliveries: Iterable<LogDelivery>, slots: SlotSet | null): Iterable<OpenPosition> {
  for (const delivery of deliveries) {
    if (delivery.stored === null && (slots === null || slots.has(delivery.row.slot))) yield delivery;
  }
}

/** Slots that came have brought what stands before what is open: rarely, so it is looked for first. */
function inOrder(open: readonly OpenPosition[]): readonly OpenPosition[] {
  const rises = open.every(
    ({ position }, index) => index === 0 || position > (open[index - 1] as OpenPosition).position,
  );
  return rises ? open : open.toSorted((a, b) => a.position - b.position);
}

function placeOf({ state, start }: StoredShare): PlaceInLog {
  return state === null ? { readUpTo: start, mark: start, open: [], slots: new Map() } : decodePlace(state);
}
