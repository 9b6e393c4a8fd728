export { outbox, type Outbox, type OutboxOptions } from './outbox.ts';
export { outboxRelay, type OutboxRelayOptions, type OutboxRelaySettings } from './relay.ts';
