import { isCarillonError, toError, type Clock, type Event, type Timer } from '../../core/index.ts';
import type { ChangeSink } from './changes.ts';
import type { Lsn } from './lsn.ts';

/**
 * Gathers changes and publishes them in order, one batch at a time: while one is on its way the next gathers. A batch
 * holds whole transactions where they fit; one that is larger goes in several, while it is still being read.
 *
 * States: `idle` (nothing gathered) → `publishing` → `idle` | `publishing`; a batch refused for now: `waiting` →
 * `publishing`, the same batch, whose ids let the bus know it again; refused for good: `broken`; `closed`.
 */
const RETRY_FIRST_MS = 50;
const RETRY_LAST_MS = 5_000;
/** Gathered, in batches, at which reading pauses; it goes on at half of that. */
const AHEAD = 4;
/** The same in bytes of messages, and what one batch may take. */
const BYTES_MAX = 16 * 1024 * 1024;
const BATCH_BYTES_MAX = 4 * 1024 * 1024;

export interface BatchesHost {
  readonly clock: Clock;
  readonly batchEvents: number;
  /** Resolves once they are durable. @param end where the last transaction that is whole by then ends; null for none */
  publish(events: readonly Event[], end: Lsn | null): Promise<void>;
  /** Refused for good. */
  onBroken(error: Error): void;
  /** Refused for now. */
  onRefused(error: Error): void;
  /** There is room again, after {@link Batches.full}. */
  onRoom(): void;
}

/** Whether the same can succeed later, in this process: a bus or engine that has ended stays so. */
export function mayPass(error: Error): boolean {
  return (
    isCarillonError(error) &&
    error.retryable &&
    error.code !== 'CARILLON_STOPPED' &&
    error.code !== 'CARILLON_ENGINE_FAILED'
  );
}

interface Gathered {
  readonly event: Event;
  readonly size: number;
}

interface Boundary {
  /** Events counted from the beginning, up to the end of the transaction. */
  readonly count: number;
  readonly end: Lsn;
}

export class Batches implements ChangeSink {
  readonly host: BatchesHost;
  gathered: Gathered[] = [];
  bytes = 0;
  /** Events that were published before those gathered. */
  taken = 0;
  boundaries: Boundary[] = [];
  batchEvents: number;
  state: 'idle' | 'publishing' | 'waiting' | 'broken' | 'closed' = 'idle';
  /** Whether reading was told to pause. */
  paused = false;
  /** The end of the stream outside of transactions, with nothing gathered. */
  idleAt: Lsn = 0n;
  timer: Timer | null = null;
  idleWaiters: (() => void)[] = [];

  constructor(host: BatchesHost) {
    this.host = host;
    this.batchEvents = host.batchEvents;
  }

  /** Whether no more should be read for now; {@link BatchesHost.onRoom} tells when there is room. */
  get full(): boolean {
    const full = this.gathered.length >= this.batchEvents * AHEAD || this.bytes >= BYTES_MAX;
    if (full) this.paused = true;
    return full;
  }

  /** Whether all that was added is durable. */
  get empty(): boolean {
    return this.state === 'idle' && this.gathered.length === 0;
  }

  add(event: Event, size: number): void {
    this.gathered.push({ event, size });
    this.bytes += size;
    if (this.state === 'idle' && this.gathered.length >= this.batchEvents) this.pump();
  }

  committed(end: Lsn): void {
    this.boundaries.push({ count: this.taken + this.gathered.length, end });
    this.pump();
  }

  reached(lsn: Lsn): void {
    if (this.empty && this.boundaries.length === 0) this.idleAt = lsn;
  }

  /** Publishes what is there though no transaction has ended: for the end of a snapshot. Resolves when it is durable. */
  async flushed(): Promise<void> {
    if (this.gathered.length > 0) this.pump(true);
    if (this.empty || this.state === 'broken' || this.state === 'closed') return;
    await new Promise<void>((resolve) => this.idleWaiters.push(resolve));
    if (this.gathered.length > 0) await this.flushed();
  }

  /** Nothing more is published, but for what is on its way. Resolves when that has come to its end. */
  async close(): Promise<void> {
    const under = this.state === 'publishing';
    this.state = 'closed';
    this.timer?.cancel();
    this.gathered = [];
    this.boundaries = [];
    if (under) await new Promise<void>((resolve) => this.idleWaiters.push(resolve));
    this.told();
  }

  pump(partly = false): void {
    if (this.state !== 'idle') return;
    const whole = this.boundaries.length > 0;
    // What is gathered of a transaction under way goes ahead only when it fills a batch.
    if (!whole && !partly && this.gathered.length < this.batchEvents && this.bytes < BATCH_BYTES_MAX) return;
    const { events, end } = this.take(whole);
    if (events.length === 0 && end === null) return;
    this.state = 'publishing';
    void this.publish(events, end);
  }

  /** The next batch: as many whole transactions as fit, else the beginning of the first one. */
  take(whole: boolean): { readonly events: readonly Event[]; readonly end: Lsn | null } {
    let fitting = 0;
    for (let bytes = 0; fitting < this.gathered.length && fitting < this.batchEvents; fitting++) {
      bytes += (this.gathered[fitting] as Gathered).size;
      if (bytes > BATCH_BYTES_MAX && fitting > 0) break;
    }
    let end: Lsn | null = null;
    let count = fitting;
    if (whole) {
      let passed = 0;
      while (passed < this.boundaries.length && (this.boundaries[passed] as Boundary).count - this.taken <= fitting)
        passed++;
      const last = this.boundaries[passed - 1];
      if (last !== undefined) {
        end = last.end;
        count = last.count - this.taken;
        this.boundaries.splice(0, passed);
      }
    }
    const taken = this.gathered.splice(0, count);
    this.taken += taken.length;
    for (const { size } of taken) this.bytes -= size;
    return { events: taken.map(({ event }) => event), end };
  }

  async publish(events: readonly Event[], end: Lsn | null, delayMs: number = RETRY_FIRST_MS): Promise<void> {
    try {
      await this.publishFitting(events, end);
    } catch (thrown) {
      const error = toError(thrown);
      if (this.closed) return this.told();
      if (!mayPass(error)) {
        this.state = 'broken';
        this.told();
        return this.host.onBroken(error);
      }
      this.state = 'waiting';
      this.host.onRefused(error);
      this.timer = this.host.clock.setTimer(delayMs, () => {
        this.state = 'publishing';
        void this.publish(events, end, Math.min(delayMs * 2, RETRY_LAST_MS));
      });
      return;
    }
    if (this.closed) return this.told();
    this.state = 'idle';
    if (this.gathered.length > 0 || this.boundaries.length > 0) this.pump();
    if (this.state === 'idle') this.told();
    if (this.paused && this.gathered.length <= (this.batchEvents * AHEAD) / 2 && this.bytes <= BYTES_MAX / 2) {
      this.paused = false;
      this.host.onRoom();
    }
  }

  get closed(): boolean {
    return this.state === 'closed';
  }

  /** The bus may take smaller batches than were asked for; then they are halved until they fit, for good. */
  async publishFitting(events: readonly Event[], end: Lsn | null): Promise<void> {
    try {
      await this.host.publish(events, end);
    } catch (error) {
      if (!isCarillonError(error, 'CARILLON_BATCH_TOO_LARGE') || events.length < 2) throw error;
      const half = Math.ceil(events.length / 2);
      this.batchEvents = Math.min(this.batchEvents, half);
      await this.publishFitting(events.slice(0, half), null);
      await this.publishFitting(events.slice(half), end);
    }
  }

  told(): void {
    for (const waiter of this.idleWaiters.splice(0)) waiter();
  }
}
