import { fifo, type Fifo } from '../core/index.ts';
import type { Delivery } from '../engine/index.ts';

/**
 * Lanes keep order: deliveries of one key queue in one lane, and a lane lets `limit` of them run at once (1 by key).
 * A lane exists while it has work or is `listed`, that is, queued for its turn because something of it may start. One
 * that is emptied while it is listed waits for its turn all the same: of two lanes of one key neither would know what
 * the other runs.
 */
export class Lane {
  readonly key: string | null;
  running = 0;
  listed = false;
  /** The next one stands here, the others behind it in a queue that most lanes never need. */
  next: Delivery | null = null;
  rest: Fifo<Delivery> | null = null;

  constructor(key: string | null) {
    this.key = key;
  }

  get length(): number {
    return this.next === null ? 0 : 1 + (this.rest?.length ?? 0);
  }

  push(delivery: Delivery): void {
    if (this.next === null) this.next = delivery;
    else (this.rest ??= fifo()).push(delivery);
  }

  shift(): Delivery | null {
    const { next } = this;
    if (next !== null) this.next = this.rest?.shift() ?? null;
    return next;
  }

  drain(): Delivery[] {
    if (this.next === null) return [];
    const all = [this.next, ...(this.rest?.drain() ?? [])];
    this.next = null;
    return all;
  }

  *values(): Iterable<Delivery> {
    if (this.next !== null) yield this.next;
    if (this.rest !== null) yield* this.rest.values();
  }
}

export class Lanes {
  readonly limit: number;
  readonly byKey: Map<string, Lane> = new Map();
  readonly ready: Fifo<Lane> = fifo();
  /** Deliveries waiting in all lanes. */
  waiting = 0;
  /** Of these, in lanes that are listed: what could start now but for concurrency. */
  startable = 0;

  /** @param limit how many of one key may run at once; Infinity when keys do not matter */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** Queues a delivery in the lane of its key. */
  add(delivery: Delivery, key: string | null): void {
    const lane = this.laneOf(key);
    lane.push(delivery);
    this.waiting++;
    if (lane.listed) this.startable++;
    else this.list(lane);
  }

  laneOf(key: string | null): Lane {
    if (key === null || this.limit === Infinity) return new Lane(null);
    let lane = this.byKey.get(key);
    if (!lane) {
      lane = new Lane(key);
      this.byKey.set(key, lane);
    }
    return lane;
  }

  list(lane: Lane): void {
    if (lane.listed || lane.next === null || lane.running >= this.limit) return;
    lane.listed = true;
    this.startable += lane.length;
    this.ready.push(lane);
  }

  /** The lane whose turn it is, without taking from it. */
  peek(): Lane | undefined {
    for (;;) {
      const lane = this.ready.peek();
      if (!lane || lane.next !== null) return lane;
      // Emptied since it was listed.
      this.ready.shift();
      lane.listed = false;
      this.forget(lane);
    }
  }

  /** Takes the lane whose turn it is, for something of it to run. Only after {@link peek} has found one. */
  start(): Lane {
    const lane = this.ready.shift() as Lane;
    lane.listed = false;
    this.startable -= lane.length;
    lane.running++;
    return lane;
  }

  /** So many were taken from the lane, to run together. */
  started(lane: Lane, count: number): void {
    this.waiting -= count;
    this.list(lane);
  }

  /** One that ran is done. */
  done(lane: Lane): void {
    lane.running--;
    this.list(lane);
    this.forget(lane);
  }

  /** What would be taken next, up to `max`, without taking it. */
  *upcoming(max: number): Iterable<Delivery> {
    let left = max;
    for (const lane of this.ready.values()) {
      for (const delivery of lane.values()) {
        if (left-- === 0) return;
        yield delivery;
      }
    }
  }

  /** The first of each lane, up to `max` lanes: what could start beside each other. */
  *heads(max: number): Iterable<Delivery> {
    let left = max;
    for (const lane of this.ready.values()) {
      if (left-- === 0) return;
      if (lane.next !== null) yield lane.next;
    }
  }

  /** Takes all that waits in a lane: it is held back. */
  clear(lane: Lane): Delivery[] {
    const cleared = lane.drain();
    this.waiting -= cleared.length;
    if (lane.listed) this.startable -= cleared.length;
    return cleared;
  }

  /** Takes what waits of those that are wanted, wherever it stands. */
  remove(wanted: (delivery: Delivery) => boolean): Delivery[] {
    const removed: Delivery[] = [];
    for (const lane of new Set([...this.ready.values(), ...this.byKey.values()])) {
      const cleared = this.clear(lane);
      for (const delivery of cleared) {
        if (wanted(delivery)) removed.push(delivery);
        else this.putBack(lane, delivery);
      }
      this.forget(lane);
    }
    return removed;
  }

  putBack(lane: Lane, delivery: Delivery): void {
    lane.push(delivery);
    this.waiting++;
    if (lane.listed) this.startable++;
  }

  /** Takes all that waits. */
  clearAll(): Delivery[] {
    const cleared = this.ready.drain().flatMap((lane) => {
      lane.listed = false;
      return lane.drain();
    });
    for (const lane of this.byKey.values()) cleared.push(...lane.drain());
    this.waiting = 0;
    this.startable = 0;
    return cleared;
  }

  forget(lane: Lane): void {
    if (lane.key !== null && !lane.listed && lane.running === 0 && lane.next === null) this.byKey.delete(lane.key);
  }
}
