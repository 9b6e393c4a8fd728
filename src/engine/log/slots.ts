/**
 * A subscription that several processes share is divided by key into slots, and each slot is read by one process at a
 * time. So a key is in one process at a time, and what moves from one process to another is a slot.
 */
export const SLOTS = 64;

/** The slot of a key. Never changes for a key: places on disk are kept by slot. FNV-1a, its high bits mixed in. */
export function slotOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  return ((hash ^ (hash >>> 12)) >>> 0) % SLOTS;
}

/** A set of slots: asked for every event, so it answers from an array. */
export class SlotSet implements Iterable<number> {
  readonly mask: Uint8Array = new Uint8Array(SLOTS);
  size = 0;

  constructor(slots: Iterable<number> = []) {
    for (const slot of slots) this.add(slot);
  }

  has(slot: number): boolean {
    return this.mask[slot] === 1;
  }

  add(slot: number): void {
    if (this.mask[slot] === 1) return;
    this.mask[slot] = 1;
    this.size++;
  }

  delete(slot: number): void {
    if (this.mask[slot] !== 1) return;
    this.mask[slot] = 0;
    this.size--;
  }

  *[Symbol.iterator](): Iterator<number> {
    for (let slot = 0; slot < SLOTS; slot++) if (this.mask[slot] === 1) yield slot;
  }
}

/**
 * How many slots a process is due: as many as any other, the first ones one more where they do not divide evenly.
 * @param runners who runs the subscription, in an order that all of them see
 * @param exclusive all or nothing, for total order: the first has all of them
 */
export function slotsDue(runners: readonly number[], me: number, exclusive: boolean): number {
  const at = runners.indexOf(me);
  if (at === -1) return 0;
  if (exclusive) return at === 0 ? SLOTS : 0;
  return Math.floor(SLOTS / runners.length) + (at < SLOTS % runners.length ? 1 : 0);
}
