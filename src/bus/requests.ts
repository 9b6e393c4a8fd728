import {
  carillonError,
  validate,
  type AnyEventDefinition,
  type Clock,
  type Event,
  type Limits,
  type RequestOptions,
  type Timer,
} from '../core/index.ts';
import type { Outcome } from '../engine/index.ts';

/**
 * Requests waiting for an answer (G11). States of one: `waiting` → `answered` | `failed` (every handler that could
 * answer is done without one) | `timed out` | `aborted`. The event itself is durable and handled in any case.
 *
 * The answer is what the first handler that names the type returns, other than undefined. When all of them have
 * returned undefined, that is the answer.
 */
interface Waiting {
  readonly event: Event;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: Timer;
  readonly forget: () => void;
  /** Subscriptions that may still answer. */
  readonly open: Set<string>;
  /** Why one of them will not, if so. */
  failure: Error | null;
}

const TIMEOUT_MS = 30_000;

export class Requests {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly waiting: Map<string, Waiting> = new Map();

  constructor(clock: Clock, limits: Limits) {
    this.clock = clock;
    this.limits = limits;
  }

  /** Waits for the answer. Call before the event is published, so that no answer is missed. */
  wait(event: Event, responders: readonly string[], options: RequestOptions): Promise<unknown> {
    const key = keyOfRequest(event);
    if (this.waiting.size >= this.limits.requestsPendingMax) {
      throw carillonError('CARILLON_OVERLOADED', 'limits.requestsPendingMax requests are waiting already', {
        limit: 'requestsPendingMax',
      });
    }
    if (this.waiting.has(key)) {
      throw carillonError('CARILLON_OPTION_INVALID', `a request with the event ${event.id} is waiting already`, {
        option: 'id',
      });
    }
    const { timeoutMs = TIMEOUT_MS, signal } = options;
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => this.end(key)?.reject(error);
      const timer = this.clock.setTimer(timeoutMs, () =>
        fail(
          carillonError('CARILLON_REQUEST_TIMEOUT', `no answer to ${event.type} within ${timeoutMs} ms`, { timeoutMs }),
        ),
      );
      const abort = (): void => fail(abortError(signal?.reason));
      const open = new Set(responders);
      const forget = (): void => signal?.removeEventListener('abort', abort);
      this.waiting.set(key, { event, resolve, reject, timer, forget, open, failure: null });
      if (signal?.aborted) abort();
      else signal?.addEventListener('abort', abort, { once: true });
    });
  }

  /**
   * A handler returned, or will never handle the event. What it returned is the answer unless it is undefined and others
   * may still say more.
   */
  answered(asked: Asked, subscription: string, outcome: Outcome): void {
    const key = keyOfRequest(asked);
    const waiting = this.waiting.get(key);
    if (!waiting?.open.delete(subscription)) return;
    const value = 'value' in outcome ? outcome.value : undefined;
    if ('error' in outcome) waiting.failure ??= noAnswer(waiting.event, subscription, outcome.error);
    if (value === undefined && waiting.open.size > 0) return;
    if (value === undefined && waiting.failure) this.end(key)?.reject(waiting.failure);
    else this.end(key)?.resolve(value);
  }

  /** A sync handler answered, or nobody else could. */
  resolve(event: Event, value: unknown): void {
    this.end(keyOfRequest(event))?.resolve(value);
  }

  /** The publish itself failed. */
  reject(event: Event, error: Error): void {
    this.end(keyOfRequest(event))?.reject(error);
  }

  failAll(error: Error): void {
    for (const key of this.waiting.keys()) this.end(key)?.reject(error);
  }

  end(key: string): Waiting | undefined {
    const waiting = this.waiting.get(key);
    if (!waiting) return undefined;
    this.waiting.delete(key);
    waiting.timer.cancel();
    waiting.forget();
    return waiting;
  }
}

type Asked = Pick<Event, 'source' | 'id'>;

const keyOfRequest = ({ source, id }: Asked): string => `${source}\n${id}`;

function noAnswer({ type }: Event, subscription: string, error: Error): Error {
  const message = `${subscription} will not answer ${type}: ${error.message}`;
  return carillonError('CARILLON_REQUEST_FAILED', message, { subscription, type }, error);
}

function abortError(reason: unknown): Error {
  return reason instanceof Error
    ? reason
    : carillonError('CARILLON_REQUEST_TIMEOUT', 'the request was aborted', {}, reason);
}

/** The answer as the definition's response schema lets it through. @throws `CARILLON_DATA_INVALID` */
export function checkedAnswer(definition: AnyEventDefinition | undefined, value: unknown): unknown {
  if (definition?.responseSchema === undefined) return value;
  return validate(definition.responseSchema, value, `the answer to ${definition.type}`, { type: definition.type });
}
