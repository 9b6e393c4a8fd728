import { SLOTS, SlotSet } from './slots.ts';
import type { EventRow } from './stored.ts';

/** A share as it is stored: some slots of a subscription with their place in the log, held by one process. */
export interface StoredShare {
  readonly no: number;
  readonly slots: readonly number[];
  /** Of the newest place written for it; 0 while there is none. */
  readonly version: number;
  /** As a commit was given it; null when it starts after `start`. */
  readonly state: Uint8Array | null;
  readonly start: number;
  /** The log's last position when it became free: whoever held it before has begun nothing after this one. */
  readonly reached: number;
}

/** A share held by this process. */
interface HeldShare {
  readonly no: number;
  readonly slots: SlotSet;
  version: number;
}

/**
 * What this process reads of a subscription that it shares with others: the slots it has, and how far each is read.
 *
 * States of a slot: `absent` → (acquire) → `reading` → (leave) → `leaving` → (remove) → `absent`; `reading` or
 * `leaving` → (lose) → `absent`.
 *
 * One cursor passes over the log for all slots that are `reading`. A slot acquired further on than the cursor is skipped
 * until the cursor is there (`ahead`). One acquired behind it takes the cursor back, and the others are ahead then. A slot
 * that is `leaving` is read no further.
 */
export class Share {
  readonly owned: SlotSet = new SlotSet();
  readonly ahead: Map<number, number> = new Map();
  readonly leaving: Map<number, number> = new Map();
  held: HeldShare[] = [];
  /** Rises with every change of what is read: what was asked for before is not what is asked for now. */
  revision = 0;

  /** Whether nothing is to be passed over for a slot's own sake: nearly always. */
  get simple(): boolean {
    return this.ahead.size === 0 && this.leaving.size === 0;
  }

  /** Whether all slots are read here: what total order needs. */
  get whole(): boolean {
    return this.owned.size === SLOTS && this.leaving.size === 0;
  }

  /** Slots that stay, when those that are leaving have gone. */
  get staying(): number {
    return this.owned.size - this.leaving.size;
  }

  /** Whether the event is to be handed out here, when the cursor meets it. */
  reads({ slot, position }: EventRow): boolean {
    if (!this.owned.has(slot)) return false;
    if (this.simple) return true;
    return !this.leaving.has(slot) && position > (this.ahead.get(slot) ?? 0);
  }

  /** The cursor is here: what it has caught up with is ahead no more. */
  passed(cursor: number): void {
    for (const [slot, position] of this.ahead) if (position <= cursor) this.ahead.delete(slot);
  }

  /**
   * Slots are read here from now on.
   * @param places how far each is read
   * @returns where the cursor has to stand
   */
  acquire(share: StoredShare, places: ReadonlyMap<number, number>, cursor: number): number {
    this.revision++;
    const least = Math.min(...places.values());
    // Nothing was read for anybody yet, so there is nothing to be taken back.
    const from = this.owned.size === 0 ? least : Math.min(least, cursor);
    if (from < cursor) {
      for (const slot of this.owned) {
        if (!this.leaving.has(slot)) this.ahead.set(slot, Math.max(cursor, this.ahead.get(slot) ?? 0));
      }
    }
    for (const [slot, position] of places) {
      this.owned.add(slot);
      if (position > from) this.ahead.set(slot, position);
    }
    this.held.push({ no: share.no, slots: new SlotSet(places.keys()), version: share.version });
    return from;
  }

  /** Slots are read no further: another process is to have them. */
  leave(slots: Iterable<number>, cursor: number): void {
    this.revision++;
    for (const slot of slots) {
      this.leaving.set(slot, Math.max(cursor, this.ahead.get(slot) ?? 0));
      this.ahead.delete(slot);
    }
  }

  /** What stays is one share now, of that number; what was leaving is gone. */
  becomes(no: number | null, version: number): void {
    for (const slot of this.leaving.keys()) this.owned.delete(slot);
    this.leaving.clear();
    this.held = no === null ? [] : [{ no, slots: new SlotSet(this.owned), version }];
  }

  lose(): void {
    this.revision++;
    for (const slot of this.owned) this.owned.delete(slot);
    this.ahead.clear();
    this.leaving.clear();
    this.held = [];
  }

  /** How far the slot is read. */
  positionOf(slot: number, cursor: number): number {
    return this.leaving.get(slot) ?? Math.max(cursor, this.ahead.get(slot) ?? 0);
  }

  /** The place of these slots: what all of them are read up to, and those that are further. */
  placeOf(slots: Iterable<number>, cursor: number): { readonly readUpTo: number; readonly slots: Map<number, number> } {
    const further = new Map<number, number>();
    let readUpTo = Infinity;
    for (const slot of slots) {
      const position = this.positionOf(slot, cursor);
      further.set(slot, position);
      readUpTo = Math.min(readUpTo, position);
    }
    for (const [slot, position] of further) if (position === readUpTo) further.delete(slot);
    return { readUpTo, slots: further };
  }
}

/** Which slots to give up: the last ones, so that what stays is the same whoever asks. */
export function slotsToLeave(share: Share, count: number): number[] {
  return [...share.owned].filter((slot) => !share.leaving.has(slot)).slice(-count);
}
