export * from './core/index.ts';
export { createBus, type BusOptions } from './bus/index.ts';
