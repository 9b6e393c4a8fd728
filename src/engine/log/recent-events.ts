import type { FreshRow } from './rows.ts';

/**
 * The end of the log, in memory: what subscriptions that keep up are fed from, so that an event is not read back from
 * the disk it was just written to. Bounded by number and size; a subscription that falls further behind reads the log.
 */
export interface RecentEvents {
  add(row: FreshRow): void;
  /** Forgets events up to this position: nobody will ask for them from here. */
  drop(upTo: number): void;
  /** Whether all events after this position are here. */
  covers(position: number): boolean;
  /** Index of the first event after this position, for {@link at}; only when covered. */
  indexAfter(position: number): number;
  at(index: number): FreshRow | undefined;
}

const EVENTS_MAX = 8192;
/** UTF-16 units of data kept: twice that many bytes at most. */
const SIZE_MAX = 8 * 1024 * 1024;

class BoundedRecentEvents implements RecentEvents {
  /** A ring: absolute index i stands at i % EVENTS_MAX. */
  ring: (FreshRow | undefined)[] = [];
  head = 0;
  tail = 0;
  size = 0;
  /** All events after this position are in the ring. */
  floor: number;

  constructor(last: number) {
    this.floor = last;
  }

  add(row: FreshRow): void {
    this.ring[this.tail++ % EVENTS_MAX] = row;
    this.size += sizeOf(row);
    while (this.tail - this.head > EVENTS_MAX - 1 || (this.size > SIZE_MAX && this.tail - this.head > 1)) this.evict();
  }

  evict(): void {
    const slot = this.head++ % EVENTS_MAX;
    const oldest = this.ring[slot] as FreshRow;
    this.ring[slot] = undefined;
    this.floor = oldest.position;
    this.size -= sizeOf(oldest);
  }

  drop(upTo: number): void {
    while (this.head < this.tail && (this.ring[this.head % EVENTS_MAX] as FreshRow).position <= upTo) this.evict();
    if (this.head === this.tail) this.floor = Math.max(this.floor, upTo);
  }

  covers(position: number): boolean {
    return position >= this.floor;
  }

  indexAfter(position: number): number {
    let low = this.head;
    let high = this.tail;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((this.ring[middle % EVENTS_MAX] as FreshRow).position <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  at(index: number): FreshRow | undefined {
    return index < this.tail && index >= this.head ? this.ring[index % EVENTS_MAX] : undefined;
  }
}

function sizeOf({ data }: FreshRow): number {
  return (data?.length ?? 0) + 64;
}

/** @param last the log's last position: nothing before it will be asked for from here */
export function recentEvents(last: number): RecentEvents {
  return new BoundedRecentEvents(last);
}
