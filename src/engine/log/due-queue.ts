import type { SlotSet } from './slots.ts';

/** Positions by the moment they are due: a binary heap. An entry that was replaced or taken back is passed over when it surfaces. */
export interface DueQueue {
  readonly size: number;
  /** Sets when a position is due, replacing what was set before. */
  set(position: number, dueMs: number, slot: number): void;
  delete(position: number): void;
  has(position: number): boolean;
  /** When the earliest is due; null when empty. */
  nextMs(): number | null;
  /** Takes the positions due at `nowMs`, the earliest first, `max` at most. */
  take(nowMs: number, max: number): number[];
  /** Forgets what is of these slots. */
  forget(slots: SlotSet): void;
}

interface Entry {
  readonly position: number;
  readonly dueMs: number;
  readonly slot: number;
}

const before = (a: Entry, b: Entry): boolean => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.position < b.position);

class HeapDueQueue implements DueQueue {
  heap: Entry[] = [];
  live = new Map<number, Entry>();

  get size(): number {
    return this.live.size;
  }

  set(position: number, dueMs: number, slot: number): void {
    const entry = { position, dueMs, slot };
    this.live.set(position, entry);
    this.heap.push(entry);
    this.rise(this.heap.length - 1);
  }

  delete(position: number): void {
    this.live.delete(position);
  }

  has(position: number): boolean {
    return this.live.has(position);
  }

  nextMs(): number | null {
    return this.first()?.dueMs ?? null;
  }

  take(nowMs: number, max: number): number[] {
    const taken: number[] = [];
    for (let entry = this.first(); entry && entry.dueMs <= nowMs && taken.length < max; entry = this.first()) {
      this.pop();
      this.live.delete(entry.position);
      taken.push(entry.position);
    }
    return taken;
  }

  forget(slots: SlotSet): void {
    for (const [position, { slot }] of this.live) if (slots.has(slot)) this.live.delete(position);
  }

  /** The earliest live entry, dropping dead ones above it. */
  first(): Entry | undefined {
    for (;;) {
      const top = this.heap[0];
      if (!top || this.live.get(top.position) === top) return top;
      this.pop();
    }
  }

  pop(): void {
    const last = this.heap.pop();
    if (!last || this.heap.length === 0) return;
    this.heap[0] = last;
    this.sink(0);
  }

  rise(from: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.swapIfBefore(at, parent)) return;
      at = parent;
    }
  }

  sink(from: number): void {
    let at = from;
    for (;;) {
      const left = at * 2 + 1;
      if (left >= this.heap.length) return;
      const right = left + 1;
      const smaller =
        right < this.heap.length && before(this.heap[right] as Entry, this.heap[left] as Entry) ? right : left;
      if (!this.swapIfBefore(smaller, at)) return;
      at = smaller;
    }
  }

  swapIfBefore(a: number, b: number): boolean {
    const x = this.heap[a] as Entry;
    const y = this.heap[b] as Entry;
    if (!before(x, y)) return false;
    this.heap[a] = y;
    this.heap[b] = x;
    return true;
  }
}

export function dueQueue(): DueQueue {
  return new HeapDueQueue();
}
