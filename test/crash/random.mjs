/** Mulberry32: seeded, small, good enough to choose moments, keys and sizes. Numbers from 0 up to 1. */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A whole number from `low` up to and with `high`. */
export function between(random, low, high) {
  return low + Math.floor(random() * (high - low + 1));
}

/** A whole number from 0 that `lot` and `salt` decide: the same on every run, spread over its range. */
export function mixed(lot, salt) {
  return Math.floor(randomFrom(Math.imul(lot + 1, 0x9e3779b1) ^ Math.imul(salt + 1, 0x85ebca6b))() * 2 ** 31);
}
