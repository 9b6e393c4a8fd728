const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const PAD = 61;
const INVALID = 255;
const codes = Uint8Array.from(ALPHABET, (character) => character.charCodeAt(0));
const values = new Uint8Array(128).fill(INVALID);
codes.forEach((code, value) => {
  values[code] = value;
});
const ascii = new TextDecoder();

// Our own, because Buffer is Node's, and atob takes white space, missing padding and stray bits.

/** The bytes in base64 (RFC 4648, section 4), padded, on one line. */
export function encodeBase64(bytes: Uint8Array): string {
  const out = new Uint8Array(Math.ceil(bytes.length / 3) * 4);
  let to = 0;
  for (let at = 0; at < bytes.length; at += 3) {
    const left = bytes.length - at;
    const bits =
      ((bytes[at] as number) << 16) |
      ((left > 1 ? (bytes[at + 1] as number) : 0) << 8) |
      (left > 2 ? (bytes[at + 2] as number) : 0);
    out[to++] = codes[bits >> 18] as number;
    out[to++] = codes[(bits >> 12) & 63] as number;
    out[to++] = left > 1 ? (codes[(bits >> 6) & 63] as number) : PAD;
    out[to++] = left > 2 ? (codes[bits & 63] as number) : PAD;
  }
  return ascii.decode(out);
}

const valueAt = (text: string, at: number): number => values[text.charCodeAt(at)] ?? INVALID;

/**
 * The bytes that a base64 text stands for; undefined when it is not exactly what {@link encodeBase64} writes: no white
 * space, no missing padding, no stray bits, not the alphabet of section 5. So one value has one text.
 */
export function decodeBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0) return undefined;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const length = (text.length / 4) * 3 - padding;
  const bytes = new Uint8Array(length);
  const digits = text.length - padding;
  let bits = 0;
  let held = 0;
  let to = 0;
  for (let at = 0; at < digits; at++) {
    const value = valueAt(text, at);
    if (value === INVALID) return undefined;
    bits = (bits << 6) | value;
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes[to++] = bits >> held;
      bits &= (1 << held) - 1;
    }
  }
  return bits === 0 ? bytes : undefined;
}
