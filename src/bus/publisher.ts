import {
  carillonError,
  timestampMs,
  type Clock,
  type Event,
  type Limits,
  type Published,
  type PublishOptions,
  type TransactionClient,
} from '../core/index.ts';
import type { AppendUnit, Engine } from '../engine/index.ts';
import { followUp, type EventGate } from './event-gate.ts';
import type { Observers } from './observers.ts';
import { nothingJoined, type Admission, type SyncHandlers } from './sync-handlers.ts';

/** The way of an event into the log: checked at the gate, admitted by the sync handlers, appended or scheduled. */
export class Publisher {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly gate: EventGate;
  readonly syncHandlers: SyncHandlers;
  readonly observers: Observers;

  constructor(parts: {
    readonly engine: Engine;
    readonly clock: Clock;
    readonly limits: Limits;
    readonly gate: EventGate;
    readonly syncHandlers: SyncHandlers;
    readonly observers: Observers;
  }) {
    this.engine = parts.engine;
    this.clock = parts.clock;
    this.limits = parts.limits;
    this.gate = parts.gate;
    this.syncHandlers = parts.syncHandlers;
    this.observers = parts.observers;
  }

  /** The hot path makes nothing it does not need: no list, no second promise, unless somebody asks for more. */
  publishOne(given: Event, options: PublishOptions): Promise<Published> {
    const event = this.gate.check(given);
    const dueMs = this.dueMs(options);
    if (options.tx !== undefined)
      return this.publishWithin([event], options, dueMs).then(([published]) => published as Published);
    if (dueMs !== null) {
      assertNoRevision(options, 'an event that is published later');
      return this.schedule(event, dueMs);
    }
    if (this.syncHandlers.hasFor(event.type)) return this.publishAdmitted(event, options);
    const published = this.engine.appendOne(this.gate.encode(event), options.expectedRevision);
    return this.observers.tell ? this.observed(event, published) : published;
  }

  async publishAdmitted(event: Event, options: PublishOptions): Promise<Published> {
    const { published } = await this.append([event], options);
    return published[0] as Published;
  }

  async publishBatch(given: readonly Event[], options: PublishOptions): Promise<readonly Published[]> {
    const { batchEventsMax } = this.limits;
    if (given.length > batchEventsMax) {
      throw carillonError(
        'CARILLON_BATCH_TOO_LARGE',
        `the batch has ${given.length} events, more than limits.batchEventsMax (${batchEventsMax})`,
        { limit: 'batchEventsMax', size: given.length },
      );
    }
    if (this.dueMs(options) !== null) {
      throw carillonError('CARILLON_SCHEDULED_IN_BATCH', 'a batch was given a delay or a moment');
    }
    if (given.length === 0) return [];
    const events = given.map((event) => this.gate.check(event));
    if (options.tx !== undefined) return this.publishWithin(events, options, null);
    return (await this.append(events, options)).published;
  }

  /** Runs the sync handlers, then adds the events and what those added to a transaction of the application's own. */
  async publishWithin(
    events: readonly Event[],
    options: PublishOptions,
    dueMs: number | null,
  ): Promise<readonly Published[]> {
    assertNoRevision(options, 'an event of a transaction');
    const tx = options.tx as TransactionClient;
    if (typeof tx?.query !== 'function') {
      throw carillonError('CARILLON_OPTION_INVALID', 'tx must be the client in whose transaction to publish', {
        option: 'tx',
      });
    }
    const { joined } = await this.admission(events);
    await this.engine.appendWithin(tx, this.unitOf([...events, ...joined]).events, dueMs);
    return events.map(({ id }) => ({ id, position: null, duplicate: false, scheduledMs: dueMs }));
  }

  /**
   * Runs the sync handlers, then appends the events and what those added, in one unit.
   * @param asks whether an answer is waited for
   */
  async append(
    events: readonly Event[],
    options: PublishOptions,
    asks: boolean = false,
  ): Promise<{ readonly published: readonly Published[]; readonly answer: unknown }> {
    // Not awaited where nothing runs: a publish made after this one must not be appended before it.
    const { joined, answer } = this.syncHandlers.hasForAny(events) ? await this.admission(events) : nothingJoined;
    const all = [...events, ...joined];
    const published = await this.engine.append({
      ...this.unitOf(all),
      expectedRevision: options.expectedRevision,
      asks,
    });
    this.tellPublished(all, published);
    return { published: published.slice(0, events.length), answer };
  }

  /** Sync handlers run now, while they can still refuse; what they add is due with the event. */
  async schedule(event: Event, dueMs: number): Promise<Published> {
    const { joined } = await this.admission([event]);
    // Asked for in one turn, all of them go with one commit.
    const [scheduled] = await Promise.all(
      [event, ...joined].map((each) => this.engine.schedule(this.gate.encode(each), dueMs)),
    );
    return scheduled as Published;
  }

  admission(events: readonly Event[]): Promise<Admission> {
    return this.syncHandlers.admit(events, (event, cause) => this.followUp(event, cause));
  }

  /** What a handler's publishes are appended as; waits only when there are sync handlers to run. */
  admit(events: readonly Event[]): AppendUnit | Promise<AppendUnit> {
    if (!this.syncHandlers.hasForAny(events)) return this.unitOf(events);
    return this.admission(events).then(({ joined }) => this.unitOf([...events, ...joined]));
  }

  followUp(event: Event, cause: Event): Event {
    return this.gate.check(followUp(event, cause));
  }

  unitOf(events: readonly Event[]): AppendUnit {
    return { events: events.map((event) => this.gate.encode(event)) };
  }

  async observed(event: Event, publishing: Promise<Published>): Promise<Published> {
    const published = await publishing;
    this.tellPublished([event], [published]);
    return published;
  }

  tellPublished(events: readonly Event[], published: readonly Published[]): void {
    const { tell } = this.observers;
    if (!tell) return;
    events.forEach((event, index) => {
      const { position, duplicate } = published[index] as Published;
      if (position !== null && !duplicate) tell({ kind: 'published', event, position });
    });
  }

  dueMs({ delayMs, at }: PublishOptions): number | null {
    if (delayMs === undefined && at === undefined) return null;
    if (delayMs !== undefined && at !== undefined) {
      throw carillonError('CARILLON_OPTION_INVALID', 'delayMs and at exclude each other', { option: 'at' });
    }
    if (delayMs !== undefined) return this.clock.now() + wholeMs('delayMs', delayMs);
    const moment = at instanceof Date ? at.getTime() : typeof at === 'string' ? timestampMs(at) : at;
    return wholeMs('at', moment);
  }
}

/** What a subject's revision will be by then nobody knows. */
function assertNoRevision({ expectedRevision }: PublishOptions, what: string): void {
  if (expectedRevision === undefined) return;
  const message = `expectedRevision cannot be checked for ${what}`;
  throw carillonError('CARILLON_OPTION_INVALID', message, { option: 'expectedRevision' });
}

function wholeMs(option: string, value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return Math.round(value);
  const message = `${option} must be a moment or a number of ms from 0, not ${String(value)}`;
  throw carillonError('CARILLON_OPTION_INVALID', message, { option });
}
