import type { AttemptRecord, Event } from '../../core/index.ts';
import type { Delivery } from '../engine.ts';
import { eventOf, takeEvent } from './rows.ts';
import type { DeliveryState, EventRow } from './stored.ts';

/** A delivery as its subscription keeps it: what the port promises, and what is needed to settle it. */
export class LogDelivery implements Delivery {
  readonly position: number;
  readonly recordedMs: number;
  readonly key: string | null;
  attempts: number;
  begun = false;
  /** Whether the attempt is counted in memory, and so has to be taken back if it never runs; `begun` once that is durable. */
  counted = false;
  records: readonly AttemptRecord[];
  readonly row: EventRow;
  /** The state of its row on disk, null while it has none. */
  stored: DeliveryState | null = null;
  /** What it is to its key: the failing one that holds it back, one that waited behind it, or neither. */
  part: 'failing' | 'waiting' | null = null;
  /** Data edited on redrive. */
  edited: string | null = null;
  /** Whether the dispatcher has it. */
  leased = false;
  made: Event | null = null;

  constructor(row: EventRow, key: string | null, attempts: number, records: readonly AttemptRecord[]) {
    this.position = row.position;
    this.recordedMs = row.recordedMs;
    this.row = row;
    this.key = key;
    this.attempts = attempts;
    this.records = records;
  }

  get asked(): boolean {
    return this.row.askedBy !== null;
  }

  get event(): Event {
    return (this.made ??= this.edited === null ? takeEvent(this.row) : eventOf(this.row, this.edited));
  }
}
