/**
 * The number an event is found again by: 53 bits made of `(source, id)`, under a unique index. Two events may share one;
 * then the later takes the next free number, so a match is always confirmed by comparing source and id.
 *
 * A UUIDv7 gives its 42 low bits of milliseconds and 11 bits of what follows: such numbers rise with time, and the index
 * is appended to at its end. Any other id gives a hash.
 */
const V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const MS_BITS_MAX = 2 ** 42;
const LOW_BITS = 2 ** 11;

export function dedupeNumber(source: string, id: string): number {
  return timeOrderedNumber(id) ?? hash53(source, id);
}

/** The number of an id that rises with time: of a UUIDv7, else null. */
export function timeOrderedNumber(id: string): number | null {
  // The length and the version digit rule out nearly all others before the pattern is tried.
  if (id.length !== 36 || id.charCodeAt(14) !== 0x37 || !V7.test(id)) return null;
  const ms = Number.parseInt(id.slice(0, 8), 16) * 65_536 + Number.parseInt(id.slice(9, 13), 16);
  return (ms % MS_BITS_MAX) * LOW_BITS + (Number.parseInt(id.slice(15, 18), 16) % LOW_BITS);
}

/** Two 32-bit multiplicative hashes, as in FNV-1a, of which 53 bits are kept. Not for adversaries: a collision only costs a look. */
function hash53(source: string, id: string): number {
  let high = 0x811c9dc5;
  let low = 0x9747b28c;
  for (const text of [source, '\n', id]) {
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      high = Math.imul(high ^ unit, 0x01000193);
      low = Math.imul(low ^ unit, 0x5bd1e995);
    }
  }
  high ^= high >>> 15;
  low ^= low >>> 13;
  return (high >>> 11) * 4_294_967_296 + (low >>> 0);
}
