export { Dispatcher, type OpenedSubscription } from './dispatcher.ts';
export type { Runner } from './runner.ts';
export type { DispatchHost, HandlerSpec } from './subscription.ts';
