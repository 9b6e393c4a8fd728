export { createBus, type BusOptions } from './create-bus.ts';
