import {
  carillonError,
  isCarillonError,
  keyOf,
  timestampMs,
  toError,
  type StoredEvent,
  type Timer,
} from '../core/index.ts';
import type { Delivery, EngineSubscription, LeaseHolder, Outcome, Settlement } from '../engine/index.ts';
import { Attempt, type Job } from './attempt.ts';
import { recordOf, settlementOf, type Failure } from './failure.ts';
import { Lanes, type Lane } from './lanes.ts';
import { Pace } from './pace.ts';
import type { DispatchHost, HandlerSpec } from './subscription.ts';

/**
 * Drives one subscription: pulls deliveries, keeps them in lanes, runs attempts, settles them.
 *
 * States of the runner: `running` → `draining` (pulls no more, gives back what waits, lets attempts end) → `stopped`;
 * `running` → `failed` (the engine failed; attempts are aborted).
 *
 * States of a delivery here: waiting in its lane → (beginning: its attempt is being counted) → running → settled. What
 * its settlement means for its key is the lane's business: after a failure that will be retried, or that holds, all
 * that waits in the lane goes back to the engine as `held`, and comes again when the key is free.
 *
 * How many attempts are counted in advance: as many as can start at once, or as many as the pace of the last moments
 * (pace.ts) lets expect, whichever is more. So a fast handler never waits for the disk between two events, and after a crash of a slow
 * one only what it really ran counts as tried.
 *
 * A delivery that was cut short by a crash twice or more runs alone: if it is what kills the process, its neighbours
 * do not lose attempts to it.
 *
 * Where several processes share the subscription, deliveries may have to be handled elsewhere: then those that wait are
 * given back, and those that run end first (`release`); or, when this process was taken for dead, all are dropped and
 * their attempts aborted (`lost`). While the lease is not sure, nothing starts.
 */
type RunnerState = 'running' | 'draining' | 'stopped' | 'failed';

const CRASHES_TO_ISOLATE = 2;

export interface RunnerCounts {
  handled: number;
  failed: number;
  expired: number;
}

export class Runner implements LeaseHolder {
  readonly spec: HandlerSpec;
  readonly host: DispatchHost;
  readonly source: EngineSubscription;
  readonly lanes: Lanes;
  readonly counts: RunnerCounts = { handled: 0, failed: 0, expired: 0 };
  state: RunnerState = 'running';

  /** In order of their start: their deadlines ascend, because all have the same time-out. */
  readonly running: Set<Attempt> = new Set();
  readonly aborted: Map<Attempt, number> = new Map();
  /** Deliveries of the attempts that are running: a batch has many. */
  handling = 0;
  /** Whether attempts are being counted; what is not counted yet waits for it. */
  counting = false;
  /** A suspect runs alone. */
  isolated = false;
  readonly pace: Pace;
  pumping = false;
  /** The monotonic moment of this pump: attempts started together share one look at the clock. */
  pumpedAt = 0;
  deadlineTimer: Timer | null = null;
  batchTimer: Timer | null = null;
  batchDue = false;
  room: (() => void) | null = null;
  quiet: (() => void)[] = [];
  loop: Promise<void>;

  constructor(host: DispatchHost, spec: HandlerSpec, source: EngineSubscription) {
    this.host = host;
    this.spec = spec;
    this.source = source;
    const { order, concurrency } = spec.strategy;
    const atOnce = concurrency.all * (spec.strategy.batch?.size ?? 1);
    this.pace = new Pace(host.clock, atOnce, host.limits.readAheadMax);
    this.lanes = new Lanes(order === 'none' ? concurrency.perKey : 1);
    source.hold(this);
    this.loop = this.pullAll();
  }

  get inMemory(): number {
    return this.lanes.waiting + this.handling;
  }

  // Taking deliveries in.

  async pullAll(): Promise<void> {
    const { readAheadMax } = this.host.limits;
    try {
      while (this.state === 'running') {
        if (this.inMemory >= readAheadMax) await this.roomMade();
        if (this.state !== 'running') break;
        const max = readAheadMax - this.inMemory;
        const begun = this.allowance();
        await this.source.pull({ max, begun }, (deliveries) => this.accept(deliveries));
      }
    } catch (error) {
      this.engineFailed(toError(error));
    }
  }

  roomMade(): Promise<void> {
    return new Promise((resolve) => {
      this.room = resolve;
    });
  }

  /**
   * Whether attempts are counted only when they start: with so few of them, crashes that were counted in advance would
   * leave no attempt to make, and bury a delivery that no handler has seen.
   */
  get countsExactly(): boolean {
    return this.spec.strategy.retry.attemptsMax <= CRASHES_TO_ISOLATE;
  }

  /** How many attempts the engine may count before they are asked for. */
  allowance(): number {
    if (this.countsExactly) return 0;
    const free = this.spec.strategy.concurrency.all - this.inMemory;
    return Math.max(1, free, this.pace.ahead());
  }

  accept(pulled: readonly Delivery[]): void {
    /** Keys held by a delivery just buried: what was handed out with it waits behind it. */
    const buried = new Set<string | null>();
    for (const delivery of pulled) {
      if (this.state !== 'running') this.source.settle(delivery, { type: 'released' });
      else if (buried.has(delivery.key)) this.source.settle(delivery, { type: 'held' });
      else if (!this.buryExhausted(delivery)) this.lanes.add(delivery, this.laneKeyOf(delivery));
      else if (this.spec.strategy.onDead === 'hold' && delivery.key !== null) buried.add(delivery.key);
    }
    this.pump();
  }

  laneKeyOf(delivery: Delivery): string | null {
    const { order, concurrency } = this.spec.strategy;
    if (order === 'total') return '';
    if (order === 'key') return delivery.key;
    return concurrency.perKey === Infinity ? null : keyOf(delivery.event);
  }

  /** A delivery whose last allowed attempt was cut short by a crash is dead: another would be one too many. */
  buryExhausted(delivery: Delivery): boolean {
    const { retry, deadLetter } = this.spec.strategy;
    if (delivery.begun || delivery.attempts < retry.attemptsMax) return false;
    const error = carillonError(
      'CARILLON_CRASHED',
      `attempt ${delivery.attempts}, the last one, ended with the process`,
    );
    this.source.settle(delivery, { type: 'dead', record: null, keep: deadLetter === 'keep' });
    this.counts.failed++;
    this.ended(delivery, 'dead', 0, error);
    this.answer(delivery, { error });
    return true;
  }

  // Starting attempts.

  /** Starts what may start. Not re-entrant: a handler that ends at once is followed by the next in the same loop. */
  pump(): void {
    if (this.pumping) return;
    this.pumping = true;
    this.pumpedAt = this.host.clock.monotonic();
    try {
      if (this.lanes.startable > 0 && this.source.leased) while (this.mayStart()) this.startNext();
    } finally {
      this.pumping = false;
    }
    if (this.room && this.inMemory <= this.host.limits.readAheadMax / 2) {
      this.room();
      this.room = null;
    }
    if (this.running.size === 0 && this.quiet.length > 0) for (const tell of this.quiet.splice(0)) tell();
  }

  mayStart(): boolean {
    if (this.state !== 'running' || this.isolated || this.lanes.startable === 0) return false;
    if (this.running.size >= this.spec.strategy.concurrency.all) return false;
    const next = this.lanes.peek()?.next;
    if (!next) return false;
    if (!next.begun) {
      this.count(next);
      return false;
    }
    if (isSuspect(next) && this.running.size > 0) return false;
    return this.spec.strategy.batch === null || this.batchIsReady();
  }

  /** Has attempts counted: the next one's, and those likely to start before another count would be done. */
  count(next: Delivery): void {
    if (this.counting) return;
    this.counting = true;
    const { batch, concurrency } = this.spec.strategy;
    const free = concurrency.all - this.running.size;
    const startable = free * (batch?.size ?? 1);
    const uncounted: Delivery[] = [];
    const upcoming =
      this.countsExactly && batch === null
        ? this.lanes.heads(isSuspect(next) ? 1 : free)
        : this.lanes.upcoming(
            isSuspect(next) ? 1 : Math.max(startable, this.countsExactly ? 0 : this.pace.aheadWhenWaiting()),
          );
    for (const delivery of upcoming) {
      if (!delivery.begun && (delivery === next || !isSuspect(delivery))) uncounted.push(delivery);
    }
    this.source.begin(uncounted).then(
      () => {
        this.counting = false;
        this.pump();
      },
      (error: unknown) => this.engineFailed(toError(error)),
    );
  }

  batchIsReady(): boolean {
    const { size, waitMs } = this.spec.strategy.batch as { size: number; waitMs: number };
    if (this.batchDue || waitMs === 0 || this.lanes.startable >= size) return true;
    this.batchTimer ??= this.host.clock.setTimer(waitMs, () => {
      this.batchTimer = null;
      this.batchDue = true;
      this.pump();
    });
    return false;
  }

  startNext(): void {
    const jobs = this.takeJobs();
    if (jobs.length === 0) return;
    this.isolated = isSuspect((jobs[0] as Job).delivery);
    this.run(jobs);
  }

  /** The next delivery, or the next batch. What has expired is settled on the way. */
  takeJobs(): Job[] {
    const { batch } = this.spec.strategy;
    if (batch === null) return this.takeOne();
    this.batchDue = false;
    this.batchTimer?.cancel();
    this.batchTimer = null;
    const jobs: Job[] = [];
    while (jobs.length < batch.size && this.lanes.startable > 0) {
      const next = this.lanes.peek()?.next;
      if (!next?.begun) break;
      // One that failed before, perhaps within a batch, runs by itself: so the event at fault is found.
      const alone = next.attempts > 1;
      if (alone && jobs.length > 0) break;
      jobs.push(...this.takeFrom(alone ? 1 : batch.size - jobs.length));
      if (alone) break;
    }
    return jobs;
  }

  takeOne(): Job[] {
    const lane = this.lanes.start();
    const delivery = lane.shift() as Delivery;
    this.lanes.started(lane, 1);
    if (!this.isExpired(delivery)) return [{ delivery, lane }];
    this.expire(delivery);
    this.lanes.done(lane);
    return [];
  }

  /** Up to so many of the lane whose turn it is, to run together; it stops before one whose attempt is not counted. */
  takeFrom(max: number): Job[] {
    if (!this.lanes.peek()) return [];
    const lane = this.lanes.start();
    const jobs: Job[] = [];
    let taken = 0;
    for (; lane.next !== null && taken < max && (taken === 0 || lane.next.begun); taken++) {
      const delivery = lane.shift() as Delivery;
      if (this.isExpired(delivery)) this.expire(delivery);
      else jobs.push({ delivery, lane });
    }
    this.lanes.started(lane, taken);
    if (jobs.length === 0) this.lanes.done(lane);
    return jobs;
  }

  isExpired({ event, recordedMs }: Delivery): boolean {
    const { expiry } = this.spec.strategy;
    if (expiry === null && event.expirytime === undefined) return false;
    const nowMs = this.host.clock.now();
    if (expiry !== null && nowMs - recordedMs > expiry.maxAgeMs) return true;
    return event.expirytime !== undefined && nowMs > (timestampMs(event.expirytime) ?? Infinity);
  }

  expire(delivery: Delivery): void {
    this.source.settle(delivery, { type: 'expired' });
    this.counts.expired++;
    this.ended(delivery, 'expired', 0);
    this.answer(delivery, { error: carillonError('CARILLON_REQUEST_FAILED', 'the event has expired') });
  }

  run(jobs: readonly Job[]): void {
    const attempt = new Attempt(this.host, this.spec, this.source, jobs, this.pumpedAt);
    this.running.add(attempt);
    this.handling += jobs.length;
    this.deadlineTimer ??= this.host.clock.setTimer(this.spec.strategy.timeoutMs, () => this.checkDeadlines());
    if (this.host.tell) this.observeStart(attempt);
    let result: unknown;
    try {
      result = this.call(attempt);
    } catch (thrown) {
      return this.failed(attempt, thrown);
    }
    if (isThenable(result)) {
      result.then(
        (value) => this.returned(attempt, value),
        (thrown: unknown) => this.failed(attempt, thrown),
      );
    } else this.returned(attempt, result);
  }

  call(attempt: Attempt): unknown {
    const handler = this.spec.handler as (given: unknown, context: Attempt) => unknown;
    if (this.spec.kind === 'async') return handler(attempt.first.event, attempt);
    return handler(
      attempt.jobs.map((job) => job.delivery.event),
      attempt,
    );
  }

  /** Tells what came of the event to whoever may have asked: in this process, or in another. */
  answer(delivery: Delivery, outcome: Outcome): void {
    const { event, asked } = delivery;
    this.host.answered?.(event, this.spec.name, outcome);
    if (asked && this.spec.responds.includes(event.type)) this.source.answer(delivery, outcome);
  }

  // Ending attempts.

  returned(attempt: Attempt, value: unknown): void {
    if (attempt.state === 'over') return;
    if (attempt.chosen) return this.failed(attempt, attempt.chosen.error);
    if (attempt.state === 'aborted') return this.failed(attempt, attempt.abortReason);
    if (attempt.published || attempt.transactions?.opened) {
      attempt.state = 'committing';
      this.commit(attempt).then(
        () => this.succeeded(attempt, value),
        (thrown: unknown) => this.failed(attempt, thrown),
      );
      return;
    }
    const { jobs } = attempt;
    for (let at = 0; at < jobs.length; at++) this.source.settle((jobs[at] as Job).delivery, acknowledged);
    this.succeeded(attempt, value);
  }

  /** Writes what the handler published, its transaction and its acknowledgement in one commit. */
  async commit(attempt: Attempt): Promise<void> {
    const units = attempt.published ? [await this.host.admit(attempt.published)] : [];
    const transaction = await attempt.transactions?.opened;
    if (transaction) await transaction.commit(units);
    else {
      await this.source.settleWith(
        attempt.jobs.map((job) => job.delivery),
        units,
      );
    }
  }

  succeeded(attempt: Attempt, value: unknown): void {
    this.over(attempt);
    this.counts.handled += attempt.jobs.length;
    if (this.host.tell) this.observeEnds(attempt, 'handled');
    for (const { delivery } of attempt.jobs) if (this.host.answered || delivery.asked) this.answer(delivery, { value });
    this.leaveLanes(attempt);
    this.pump();
  }

  leaveLanes({ jobs }: Attempt): void {
    if (jobs.length === 1) return this.lanes.done((jobs[0] as Job).lane);
    for (const lane of new Set(jobs.map((job) => job.lane))) this.lanes.done(lane);
  }

  /** The attempt is over; nothing it does from now on counts. */
  over(attempt: Attempt): void {
    attempt.state = 'over';
    this.running.delete(attempt);
    this.handling -= attempt.jobs.length;
    if (this.aborted.size > 0) this.aborted.delete(attempt);
    this.isolated = false;
    this.pace.ended(attempt.jobs.length);
  }

  failed(attempt: Attempt, thrown: unknown): void {
    if (attempt.state === 'over') return;
    // What failed is the time-out if that came first, or what the handler asked for if it did.
    const error = attempt.abortReason ?? attempt.chosen?.error ?? toError(thrown);
    attempt.transactions?.opened?.then((transaction) => transaction.rollback()).catch(ignoredBecauseFailing);
    this.over(attempt);
    if (this.state === 'failed' || isCarillonError(error, 'CARILLON_ENGINE_FAILED')) return this.engineFailed(error);
    this.counts.failed += attempt.jobs.length;
    this.settleFailed(attempt, error);
    this.leaveLanes(attempt);
    this.pump();
  }

  settleFailed(attempt: Attempt, error: Error): void {
    /** Keys held back by an earlier delivery of this attempt: later ones of a batch wait behind it, uncounted. */
    const heldBack = new Set<Lane>();
    for (const { delivery, lane } of attempt.jobs) {
      if (heldBack.has(lane)) {
        this.source.settle(delivery, { type: 'held' });
        continue;
      }
      const settlement = settlementOf(this.failureOf(attempt, delivery, error));
      this.source.settle(delivery, settlement);
      this.tellFailed(attempt, delivery, settlement, error);
      if (this.holdsBack(settlement, lane)) {
        heldBack.add(lane);
        for (const waiting of this.lanes.clear(lane)) this.source.settle(waiting, { type: 'held' });
      }
    }
  }

  failureOf(attempt: Attempt, delivery: Delivery, error: Error): Failure {
    return {
      strategy: this.spec.strategy,
      attempt: delivery.attempts,
      error,
      chosen: attempt.chosen,
      nowMs: this.host.clock.now(),
      startedMs: attempt.startedMs,
      recordedMs: delivery.recordedMs,
      worker: this.host.worker,
      random: this.host.random(),
    };
  }

  holdsBack(settlement: Settlement, lane: Lane): boolean {
    const { order, onDead } = this.spec.strategy;
    if (order === 'none' || lane.key === null) return false;
    return settlement.type === 'retry' || (settlement.type === 'dead' && onDead === 'hold');
  }

  tellFailed(attempt: Attempt, delivery: Delivery, settlement: Settlement, error: Error): void {
    const dead = settlement.type === 'dead';
    const durationMs = this.host.clock.monotonic() - attempt.started;
    this.ended(delivery, dead ? 'dead' : 'retried', durationMs, error);
    this.host.log.warn(dead ? 'a delivery is dead' : 'an attempt failed and will be repeated', {
      subscription: this.spec.name,
      event: delivery.event.id,
      type: delivery.event.type,
      position: delivery.position,
      attempt: delivery.attempts,
      error: error.message,
      ...(settlement.type === 'retry' ? { dueMs: settlement.dueMs } : {}),
    });
    if (dead) this.answer(delivery, { error });
  }

  // Deadlines.

  checkDeadlines(): void {
    this.deadlineTimer = null;
    const now = this.host.clock.monotonic();
    const { timeoutMs } = this.spec.strategy;
    for (const [attempt, graceEnds] of this.aborted) {
      if (graceEnds <= now) this.failed(attempt, attempt.abortReason);
    }
    for (const attempt of this.running) {
      if (attempt.state !== 'running') continue;
      if (attempt.started + timeoutMs > now) break;
      this.abort(
        attempt,
        carillonError('CARILLON_HANDLER_TIMEOUT', `${this.spec.name} took longer than ${timeoutMs} ms`, { timeoutMs }),
      );
    }
    this.setDeadlineTimer(now);
  }

  setDeadlineTimer(now: number): void {
    // An attempt that started meanwhile has set it for itself, which may be too late for others.
    this.deadlineTimer?.cancel();
    this.deadlineTimer = null;
    let next = Infinity;
    for (const graceEnds of this.aborted.values()) next = Math.min(next, graceEnds);
    for (const attempt of this.running) {
      if (attempt.state !== 'running') continue;
      next = Math.min(next, attempt.started + this.spec.strategy.timeoutMs);
      break;
    }
    if (next === Infinity) return;
    this.deadlineTimer = this.host.clock.setTimer(Math.max(0, next - now), () => this.checkDeadlines());
  }

  abort(attempt: Attempt, reason: Error): void {
    this.aborted.set(attempt, this.host.clock.monotonic() + this.host.limits.abortGraceMs);
    attempt.abort(reason);
  }

  // Deliveries that are to be handled elsewhere.

  release(wanted: (delivery: Delivery) => boolean): void {
    for (const delivery of this.lanes.remove(wanted)) this.source.settle(delivery, { type: 'released' });
    this.pump();
  }

  lost(): void {
    this.lanes.clearAll();
    const reason = carillonError(
      'CARILLON_LEASE_LOST',
      'this process was taken for dead: the event is handled elsewhere',
    );
    for (const attempt of this.running) {
      attempt.abort(reason);
      attempt.transactions?.opened?.then((transaction) => transaction.rollback()).catch(ignoredBecauseFailing);
      this.over(attempt);
      this.leaveLanes(attempt);
    }
    this.pump();
  }

  renewed(): void {
    this.pump();
  }

  // Ending the runner.

  /** Takes no more, gives back what waits, and resolves when the attempts in hand have ended. */
  async drain(): Promise<void> {
    if (this.state === 'running') this.state = 'draining';
    this.batchTimer?.cancel();
    this.releaseAll();
    if (this.running.size > 0) await new Promise<void>((resolve) => this.quiet.push(resolve));
  }

  releaseAll(): void {
    for (const delivery of this.lanes.clearAll()) this.source.settle(delivery, { type: 'released' });
  }

  /** Aborts what is still running: those attempts have failed, and come again at the next start. */
  abortAll(reason: Error): void {
    for (const attempt of this.running) {
      // What is committing has left the handler's hands, and may be settled already.
      if (attempt.state === 'over' || attempt.state === 'committing') continue;
      attempt.abort(reason);
      const failure = { ...this.failureOf(attempt, attempt.first, reason) };
      this.over(attempt);
      for (const { delivery } of attempt.jobs) {
        const record = recordOf({ ...failure, attempt: delivery.attempts });
        this.source.settle(delivery, { type: 'retry', dueMs: failure.nowMs, record });
      }
    }
  }

  async stop(): Promise<void> {
    if (this.state !== 'failed') this.state = 'stopped';
    this.deadlineTimer?.cancel();
    this.batchTimer?.cancel();
    try {
      await this.source.close();
    } finally {
      this.room?.();
      await this.loop;
    }
  }

  engineFailed(error: Error): void {
    if (this.state === 'failed' || this.state === 'stopped') return;
    this.state = 'failed';
    for (const attempt of this.running) {
      attempt.abort(error);
      attempt.state = 'over';
    }
    this.running.clear();
    this.handling = 0;
    this.lanes.clearAll();
    for (const tell of this.quiet.splice(0)) tell();
  }

  // Telling.

  observeStart(attempt: Attempt): void {
    for (const { delivery } of attempt.jobs) {
      const { name: subscription } = this.spec;
      this.host.tell?.({
        kind: 'delivery-start',
        subscription,
        stored: storedOf(delivery),
        attempt: delivery.attempts,
      });
    }
  }

  observeEnds(attempt: Attempt, outcome: 'handled'): void {
    const durationMs = this.host.clock.monotonic() - attempt.started;
    for (const { delivery } of attempt.jobs) this.ended(delivery, outcome, durationMs);
  }

  ended(
    delivery: Delivery,
    outcome: 'handled' | 'retried' | 'dead' | 'expired',
    durationMs: number,
    error?: Error,
  ): void {
    if (!this.host.tell) return;
    this.host.tell?.({
      kind: 'delivery-end',
      subscription: this.spec.name,
      stored: storedOf(delivery),
      attempt: delivery.attempts,
      outcome,
      durationMs,
      latencyMs: this.host.clock.now() - delivery.recordedMs,
      ...(error ? { error } : {}),
    });
  }
}

const acknowledged: Settlement = { type: 'ack' };

/** The attempt's failure is told already; that its rollback failed too adds nothing, and the store undoes it anyway. */
const ignoredBecauseFailing = (): void => undefined;

function isSuspect({ attempts, begun, records }: Delivery): boolean {
  // Of those counted, the one begun has not been cut short.
  if (attempts - (begun ? 1 : 0) < CRASHES_TO_ISOLATE) return false;
  return records.at(-1)?.error.code === 'CARILLON_CRASHED';
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

function storedOf({ position, recordedMs, event }: Delivery): StoredEvent {
  return { position, recordedMs, event };
}
