/**
 * A strategy says how deliveries of one subscription are handled. It is plain data: set in code, overridden by
 * configuration, changed on a running system. Options mean the same in whatever order they are written.
 */
export interface Strategy {
  /**
   * `key` (default): deliveries of one key in publish order, one at a time, keys in parallel. Events without a key
   * stand for themselves. `none`: no order. `total`: all in publish order, one at a time.
   */
  readonly order?: Order;
  /** Deliveries (or batches) handled at once. Default 16 in all; `total` order is always 1. */
  readonly concurrency?: number | Concurrency;
  /** What follows a failed attempt. Default: {@link exponential} with 5 attempts. */
  readonly retry?: Retry;
  /** Time one attempt may take, in ms; then `context.signal` aborts and the attempt has failed. Default 30,000. */
  readonly timeoutMs?: number;
  /** Hands the handler several events at once; only for handlers made with `handleBatch`. */
  readonly batch?: Batch;
  /**
   * What becomes of the later events of a key whose event is dead: `continue` (default) handles them, `hold` keeps
   * them waiting, in order, until the dead letter is redriven or discarded.
   */
  readonly onDead?: 'continue' | 'hold';
  /** Whether a dead delivery is kept with the record of its attempts. Default `keep`; `discard` only counts it. */
  readonly deadLetter?: 'keep' | 'discard';
  /** When a delivery is too old to be worth handling. An event's own `expirytime` is honoured in any case. */
  readonly expiry?: Expiry;
}

export type Order = 'key' | 'none' | 'total';

export interface Concurrency {
  /** Deliveries (or batches) at once, over all keys. Default 16. */
  readonly all?: number;
  /** Deliveries of one key at once; more than 1 needs `order: 'none'`. Default: 1 by `key`, no bound by `none`. */
  readonly perKey?: number;
}

/** When to try again. Delays are ms. Made by {@link fixed}, {@link exponential}, {@link list} or {@link noRetry}. */
export type Retry = NoRetry | FixedRetry | ExponentialRetry | ListRetry;

export interface NoRetry {
  readonly kind: 'none';
}

export interface RetryBounds {
  /** Attempts in all, the first one included. Infinity is allowed. */
  readonly attemptsMax?: number;
  /** No new attempt once the event has been in the log for this long, in ms. Default: no bound. */
  readonly maxAgeMs?: number;
  /** Only errors whose `name` or `code` is listed are retried; others are dead at once. Default: all. */
  readonly only?: readonly string[];
  /** Errors whose `name` or `code` is listed are dead at once. */
  readonly never?: readonly string[];
}

export interface FixedRetry extends RetryBounds {
  readonly kind: 'fixed';
  readonly delayMs: number;
}

export interface ExponentialRetry extends RetryBounds {
  readonly kind: 'exponential';
  /** The first delay before jitter. Default 1,000. */
  readonly initialMs?: number;
  /** Default 2. */
  readonly factor?: number;
  /** No delay is longer. Default 60,000. */
  readonly maxMs?: number;
  /** `full` (default) waits a random part of the delay, so that failures do not come back in step (AWS, 2015). */
  readonly jitter?: 'full' | 'none';
}

/** One delay after each failed attempt; when the list is used up the delivery is dead. */
export interface ListRetry extends Omit<RetryBounds, 'attemptsMax'> {
  readonly kind: 'list';
  readonly delaysMs: readonly number[];
}

export interface Batch {
  /** The most events of one call. */
  readonly size: number;
  /** How long a batch that is not full waits for more, in ms. Default 0: takes what is there. */
  readonly waitMs?: number;
}

export interface Expiry {
  /** Age since the log took the event, in ms, after which it is not handled any more. */
  readonly maxAgeMs: number;
}

/** A strategy with every option decided. What the dispatcher works by. */
export interface ResolvedStrategy {
  readonly order: Order;
  readonly concurrency: { readonly all: number; readonly perKey: number };
  readonly retry: ResolvedRetry;
  readonly timeoutMs: number;
  readonly batch: Required<Batch> | null;
  readonly onDead: 'continue' | 'hold';
  readonly deadLetter: 'keep' | 'discard';
  readonly expiry: Expiry | null;
}

export interface ResolvedRetry {
  readonly attemptsMax: number;
  readonly maxAgeMs: number;
  readonly only: readonly string[] | null;
  readonly never: readonly string[];
  /** The delay after the given failed attempt (1 for the first). @param random a number from 0 up to 1 */
  delayMs(attempt: number, random: number): number;
}
