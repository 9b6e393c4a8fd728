/** A first-in-first-out queue whose `shift` does not move what stays (an array's does). */
export interface Fifo<T> {
  readonly length: number;
  push(item: T): void;
  /** The oldest item, or undefined when empty. */
  shift(): T | undefined;
  /** The oldest item without taking it. */
  peek(): T | undefined;
  /** Takes all, oldest first. */
  drain(): T[];
  /** The items, oldest first, without taking them. */
  values(): Iterable<T>;
}

/** Slots left behind by `shift` before the rest is moved down once. */
const COMPACT_AT = 1024;

class ArrayFifo<T> implements Fifo<T> {
  items: (T | undefined)[] = [];
  head = 0;

  get length(): number {
    return this.items.length - this.head;
  }

  push(item: T): void {
    this.items.push(item);
  }

  shift(): T | undefined {
    if (this.head === this.items.length) return undefined;
    const item = this.items[this.head];
    this.items[this.head++] = undefined;
    if (this.head === this.items.length) {
      this.items = [];
      this.head = 0;
    } else if (this.head === COMPACT_AT) {
      this.items.splice(0, this.head);
      this.head = 0;
    }
    return item;
  }

  peek(): T | undefined {
    return this.items[this.head];
  }

  *values(): Iterable<T> {
    for (let at = this.head; at < this.items.length; at++) yield this.items[at] as T;
  }

  drain(): T[] {
    const rest = this.items.slice(this.head) as T[];
    this.items = [];
    this.head = 0;
    return rest;
  }
}

/** An empty queue. */
export function fifo<T>(): Fifo<T> {
  return new ArrayFifo<T>();
}
