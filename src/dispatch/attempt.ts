import {
  carillonError,
  type Event,
  type HandlerContext,
  type Logger,
  type SqlValue,
  type Transaction,
} from '../core/index.ts';
import type { Delivery, EngineSubscription, EngineTransaction } from '../engine/index.ts';
import type { Lane } from './lanes.ts';
import { giveUpSignal, retryLaterSignal, type AttemptSignal } from './signals.ts';
import type { DispatchHost, HandlerSpec } from './subscription.ts';

/**
 * One attempt: the handler's context, and the dispatcher's account of it.
 *
 * States: `running` → `committing` (its publishes and acknowledgement are being written) → `over`; `running` →
 * `aborted` (the time is up or the bus stops: `signal` aborts, the handler may still end by itself) → `over`. Once over
 * it is fenced off: whatever the handler still does with its context is refused with `CARILLON_LEASE_LOST`.
 *
 * Nothing costly is made before a handler asks for it (signal, logger, transaction): most never do, and this is the
 * hot path.
 */
export type AttemptState = 'running' | 'committing' | 'aborted' | 'over';

export interface Job {
  readonly delivery: Delivery;
  readonly lane: Lane;
}

export class Attempt implements HandlerContext {
  readonly host: DispatchHost;
  readonly spec: HandlerSpec;
  readonly source: EngineSubscription;
  readonly jobs: readonly Job[];
  /** On the monotonic clock. */
  readonly started: number;
  state: AttemptState = 'running';
  chosen: AttemptSignal | null = null;
  published: Event[] | null = null;
  transactions: LazyTransaction | null = null;
  controller: AbortController | null = null;
  abortReason: Error | null = null;

  constructor(
    host: DispatchHost,
    spec: HandlerSpec,
    source: EngineSubscription,
    jobs: readonly Job[],
    started: number,
  ) {
    this.host = host;
    this.spec = spec;
    this.source = source;
    this.jobs = jobs;
    this.started = started;
  }

  get first(): Delivery {
    return (this.jobs[0] as Job).delivery;
  }

  get subscription(): string {
    return this.spec.name;
  }

  get attempt(): number {
    return this.first.attempts;
  }

  get position(): number {
    return this.first.position;
  }

  /** On the wall clock, from the monotonic one: few handlers ask. */
  get startedMs(): number {
    const { clock } = this.host;
    return Math.round(clock.now() - (clock.monotonic() - this.started));
  }

  get deadlineMs(): number {
    return this.startedMs + this.spec.strategy.timeoutMs;
  }

  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      if (this.abortReason) this.controller.abort(this.abortReason);
    }
    return this.controller.signal;
  }

  get log(): Logger {
    const { event, position } = this.first;
    return this.host.log.child({
      subscription: this.spec.name,
      event: event.id,
      type: event.type,
      position,
      attempt: this.attempt,
    });
  }

  get tx(): Transaction {
    this.assertRunning();
    if (!this.spec.transaction) {
      throw carillonError('CARILLON_OPTION_INVALID', `the handler ${this.spec.name} did not ask for a transaction`, {
        option: 'transaction',
      });
    }
    this.transactions ??= new LazyTransaction(this);
    return this.transactions;
  }

  publish(event: Event): void {
    this.assertRunning();
    (this.published ??= []).push(this.host.followUp(event, this.first.event));
  }

  retryLater(delayMs: number, reason?: string): never {
    this.assertRunning();
    throw (this.chosen = retryLaterSignal(delayMs, reason)).error;
  }

  giveUp(reason: string): never {
    this.assertRunning();
    throw (this.chosen = giveUpSignal(reason)).error;
  }

  abort(reason: Error): void {
    this.state = 'aborted';
    this.abortReason = reason;
    this.controller?.abort(reason);
  }

  assertRunning(): void {
    if (this.state === 'running') return;
    const why = this.abortReason ? `: ${this.abortReason.message}` : '';
    throw carillonError('CARILLON_LEASE_LOST', `this attempt of ${this.spec.name} is over${why}`, {
      subscription: this.spec.name,
      position: this.position,
    });
  }
}

/** The engine's transaction, begun by the first statement: a handler that needs none does not hold the writer. */
class LazyTransaction implements Transaction {
  readonly attempt: Attempt;
  opened: Promise<EngineTransaction> | null = null;

  constructor(attempt: Attempt) {
    this.attempt = attempt;
  }

  open(): Promise<EngineTransaction> {
    this.attempt.assertRunning();
    this.opened ??= this.attempt.source.transaction(this.attempt.jobs.map((job) => job.delivery));
    return this.opened;
  }

  async run(sql: string, parameters: readonly SqlValue[] = []): Promise<{ readonly changes: number }> {
    return (await this.open()).run(sql, parameters);
  }

  async all(sql: string, parameters: readonly SqlValue[] = []): Promise<readonly Readonly<Record<string, SqlValue>>[]> {
    return (await this.open()).all(sql, parameters);
  }
}
