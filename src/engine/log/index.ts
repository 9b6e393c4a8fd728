export { dedupeNumber, timeOrderedNumber } from './deduplication.ts';
export { logEngine } from './log-engine.ts';
export { isPassing } from './refusals.ts';
export { settledUpTo } from './state-codec.ts';
export type * from './store.ts';
export type * from './stored.ts';
export type * from './sharing.ts';
export type { StoredShare } from './share.ts';
