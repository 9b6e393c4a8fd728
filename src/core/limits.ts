import { carillonError } from './errors.ts';

/**
 * Every bound of the system in one place (G13: every queue has one). Each can be set when the bus is made; each error
 * that a bound causes names it.
 */
export interface Limits {
  /** The largest event: its attributes and the JSON text of its data together, in UTF-16 units. */
  readonly eventBytesMax: number;
  /** The most events of one atomic batch. */
  readonly batchEventsMax: number;
  /** How deep data may nest: deeper JSON is refused rather than risked on the stack. */
  readonly jsonDepthMax: number;
  /** Publishes accepted and not yet durable; one more is refused with `CARILLON_OVERLOADED`. */
  readonly publishesInFlightMax: number;
  /** Size of those publishes together, in UTF-16 units of their JSON. */
  readonly publishBytesInFlightMax: number;
  /** Deliveries one subscription holds in memory, waiting or running. The rest waits in the log. */
  readonly readAheadMax: number;
  /** Size of their data together, in UTF-16 units, from which on no more are read; one delivery may always be held. */
  readonly readAheadBytesMax: number;
  /**
   * Keys of one subscription that may be held back at once by a failing event, and deliveries that may wait for a
   * retry at once. At the bound the subscription stops reading until some are settled.
   */
  readonly blockedKeysMax: number;
  /** Requests of this bus waiting for their answer. */
  readonly requestsPendingMax: number;
  /** How long `publish` waits for all sync handlers of an event together, in ms. */
  readonly syncBudgetMs: number;
  /** How long after its time-out a handler that ignores `context.signal` is waited for, in ms, before it is fenced off. */
  readonly abortGraceMs: number;
  /** How long an acknowledgement may wait in memory for company before it is written, in ms. */
  readonly ackLingerMs: number;
  /** How long a handler's own transaction may hold the writer, in ms. */
  readonly transactionMs: number;
  /** Log positions one read call looks at before it returns what it has. */
  readonly scanMax: number;
  /** Attempts kept in full in a dead letter's record: the first one and the last ones. */
  readonly attemptRecordsMax: number;
}

export const defaultLimits: Limits = {
  eventBytesMax: 1024 * 1024,
  batchEventsMax: 1000,
  jsonDepthMax: 64,
  publishesInFlightMax: 100_000,
  publishBytesInFlightMax: 128 * 1024 * 1024,
  readAheadMax: 2048,
  readAheadBytesMax: 32 * 1024 * 1024,
  blockedKeysMax: 100_000,
  requestsPendingMax: 10_000,
  syncBudgetMs: 5_000,
  abortGraceMs: 5_000,
  ackLingerMs: 10,
  transactionMs: 5_000,
  scanMax: 20_000,
  attemptRecordsMax: 20,
};

/** The default bounds with some replaced. Refuses unknown names and values that are not numbers from 0. */
export function resolveLimits(given: Partial<Limits> = {}): Limits {
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(defaultLimits, name)) {
      throw carillonError('CARILLON_OPTION_INVALID', `there is no limit named "${name}"`, { option: `limits.${name}` });
    }
    if (typeof value !== 'number' || !(value >= 0) || Number.isNaN(value)) {
      throw carillonError('CARILLON_OPTION_INVALID', `limits.${name} must be a number from 0, not ${String(value)}`, {
        option: `limits.${name}`,
      });
    }
  }
  return { ...defaultLimits, ...given };
}
