/**
 * A subscription's state in the log, as few bytes as its exceptions need: all positions up to `readUpTo` are settled
 * but for those in `open` (and those with a row of their own); positions above it up to `mark` may have been begun.
 * Written with every commit while a subscription is busy, so it must stay small: numbers are LEB128, positions deltas.
 *
 * Where several processes share a subscription, slots may be read to different positions for a while; `slots` holds
 * those that are further on than `readUpTo`.
 */
export interface PlaceInLog {
  readonly readUpTo: number;
  /** Never below `readUpTo`. */
  readonly mark: number;
  /** Positions not settled, ascending, each with the attempts counted. */
  readonly open: readonly OpenPosition[];
  /** By slot: read up to this position, which is above `readUpTo`. */
  readonly slots: ReadonlyMap<number, number>;
}

export interface OpenPosition {
  readonly position: number;
  readonly attempts: number;
}

const FORMAT = 1;
/** With slots of their own positions. */
const FORMAT_SLOTS = 2;

class Writer {
  bytes = new Uint8Array(64);
  at = 0;

  number(value: number): void {
    if (this.at + 10 > this.bytes.length) {
      const larger = new Uint8Array(this.bytes.length * 2);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    let rest = value;
    // Positions pass 2^32, so no bit operators on the whole number.
    while (rest >= 128) {
      this.bytes[this.at++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.at++] = rest;
  }
}

const noSlots: ReadonlyMap<number, number> = new Map();

/** @param open ascending by position; `attempts` small */
export function encodePlace(
  readUpTo: number,
  mark: number,
  open: Iterable<OpenPosition>,
  slots: ReadonlyMap<number, number> = noSlots,
): Uint8Array {
  const writer = new Writer();
  writer.number(slots.size === 0 ? FORMAT : FORMAT_SLOTS);
  writer.number(readUpTo);
  writer.number(mark - readUpTo);
  if (slots.size > 0) {
    writer.number(slots.size);
    for (const [slot, position] of slots) {
      writer.number(slot);
      writer.number(position - readUpTo);
    }
  }
  let before = 0;
  for (const { position, attempts } of open) {
    writer.number(position - before);
    writer.number(attempts);
    before = position;
  }
  return writer.bytes.slice(0, writer.at);
}

/** Every position up to this one is settled, or has a row of its own. @param state as {@link encodePlace} made it */
export function settledUpTo(state: Uint8Array): number {
  const { readUpTo, open } = decodePlace(state);
  const [first] = open;
  return first === undefined ? readUpTo : Math.min(readUpTo, first.position - 1);
}

export function decodePlace(bytes: Uint8Array): PlaceInLog {
  let at = 0;
  const number = (): number => {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError('the state of a subscription ends too early');
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
  };
  const format = number();
  if (format !== FORMAT && format !== FORMAT_SLOTS)
    throw new RangeError(`the state of a subscription has the unknown format ${format}`);
  const readUpTo = number();
  const mark = readUpTo + number();
  const slots = new Map<number, number>();
  if (format === FORMAT_SLOTS) {
    for (let left = number(); left > 0; left--) {
      const slot = number();
      slots.set(slot, readUpTo + number());
    }
  }
  const open: OpenPosition[] = [];
  let position = 0;
  while (at < bytes.length) {
    position += number();
    open.push({ position, attempts: number() });
  }
  return { readUpTo, mark, open, slots };
}
