import type { Lsn } from './lsn.ts';

/**
 * Ids of changes: made of nothing but the generation, the place of the transaction's commit in the write-ahead log and
 * the change's index in the transaction, so that a change that is read again has the same id, and the bus stores it once
 * (G4). The place of a commit alone would not do: all changes of a transaction share it.
 *
 * They have the form of a UUIDv7, because a log finds events of that form again by a number that rises with it, which
 * was measured three times cheaper than ids in no order. Where a UUIDv7 has milliseconds this has the low 48 bits of the
 * place, plus one for each 2,048 changes; where it has its 12-bit counter, the change's index modulo 2,048. Every change
 * takes at least one byte of log, so no transaction reaches the numbers of the next. The last 62 bits tell what could not
 * be told before: 16 high bits of the place, 2 bits for where the event comes from, 44 bits of the generation.
 *
 * The index counts messages of the stream, not events: how many events are made of a message may depend on what is known
 * of the table, and must not move the ids of those after it.
 */
const COUNTER = 2048;

const origins = { stream: 0n, snapshot: 1n, moved: 2n } as const;

export type Origin = 'stream' | 'snapshot';

const hex3: readonly string[] = Array.from({ length: COUNTER }, (_, value) => value.toString(16).padStart(3, '0'));

/** The ids of one transaction, or of one snapshot. */
export class ChangeIds {
  readonly place: bigint;
  readonly suffix: string;
  readonly movedSuffix: string;
  index = -1;
  prefix = '';

  constructor(generation: number, lsn: Lsn, origin: Origin) {
    this.place = lsn & 0xffff_ffff_ffffn;
    const suffix = (from: bigint): string => {
      const digits = ((1n << 63n) | ((lsn >> 48n) << 46n) | (from << 44n) | BigInt(generation)).toString(16);
      return `-${digits.slice(0, 4)}-${digits.slice(4)}`;
    };
    this.suffix = suffix(origins[origin]);
    this.movedSuffix = suffix(origins.moved);
  }

  /** The id of the next change; {@link index} is its index then. */
  next(): string {
    const index = ++this.index;
    const low = index % COUNTER;
    if (low === 0) this.prefix = this.prefixAt(BigInt(index / COUNTER));
    return this.prefix + (hex3[low] as string) + this.suffix;
  }

  /** The id of the second event of the same change: of a row that got another key. */
  moved(): string {
    return this.prefix + (hex3[this.index % COUNTER] as string) + this.movedSuffix;
  }

  prefixAt(thousands: bigint): string {
    const digits = ((this.place + thousands) & 0xffff_ffff_ffffn).toString(16).padStart(12, '0');
    return `${digits.slice(0, 8)}-${digits.slice(8)}-7`;
  }
}
