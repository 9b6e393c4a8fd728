export { logEngine } from './log-engine.ts';
export type * from './store.ts';
