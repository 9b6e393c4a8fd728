export { dedupeNumber, timeOrderedNumber } from './deduplication.ts';
export { logEngine } from './log-engine.ts';
export { keyOfRow } from './rows.ts';
export { SLOTS } from './slots.ts';
export type * from './store.ts';
export type * from './sharing.ts';
export type { StoredShare } from './share.ts';
