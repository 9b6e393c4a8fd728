import { createBus, type BusOptions } from '../bus/index.ts';
import { defineModule, type Bus, type Event, type Observation, type ReadQuery } from '../core/index.ts';
import { memory, memoryLog, type MemoryLog } from '../engines/memory/index.ts';
import { leftOf } from '../engines/memory/memory-log.ts';
import { fakeClock, type FakeClock } from './fake-clock.ts';
import { seededRandom } from './seeded-random.ts';

/** What a test bus is made of: a bus's options, without what the test kit decides. */
export interface TestBusOptions extends Omit<BusOptions, 'engine' | 'clock' | 'random'> {
  /** Where the clock stands at first. Default: the start of 2026, UTC. */
  readonly startMs?: number;
  /** Of the random numbers that jitter is made of. Default 1. */
  readonly seed?: number;
  /** What to keep events in: the `memoryLog` of a stopped test bus makes the next one a restart of it. */
  readonly memoryLog?: MemoryLog;
}

/** One attempt that has ended, or a delivery that has expired. */
export type Ended = Extract<Observation, { kind: 'delivery-end' }>;

/** A bus for tests: in memory, with a clock that only the test moves, and a memory of what has happened. */
export interface TestBus {
  readonly bus: Bus;
  readonly clock: FakeClock;
  readonly memoryLog: MemoryLog;
  /** All that the bus has told so far, in order. */
  readonly observations: readonly Observation[];
  /** Lets everything happen that can without time passing. */
  settle(): Promise<void>;
  /** Lets time pass: due retries, time-outs and schedules run on the way. */
  advance(ms: number): Promise<void>;
  /** The events in the log. */
  published(query?: ReadQuery): Promise<readonly Event[]>;
  /** The events a subscription has handled, in the order in which it was done with them. */
  handled(subscription: string): readonly Event[];
  /** Attempts that have ended, in order. */
  attempts(subscription?: string): readonly Ended[];
  /**
   * The first observation for which the predicate holds, those already made included. Lets time pass for it, `withinMs`
   * at most (default an hour, none of it real), and fails when it has not come by then.
   */
  waitFor(predicate: (observation: Observation) => boolean, withinMs?: number): Promise<Observation>;
  /**
   * Ends the bus as the kill of its process does: nothing is finished, acknowledged or closed, and its clock stands still.
   * What it leaves is the `memoryLog` for the next one. Handlers in hand are not stopped from touching what is outside
   * the bus: make what they touch die with it.
   */
  crash(): MemoryLog;
  /** Stops the bus, letting time pass for handlers that hang. For the clean-up of a test: harmless when stopped or crashed. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const HOUR_MS = 3_600_000;

class ObservedBus implements TestBus {
  readonly bus: Bus;
  readonly clock: FakeClock;
  readonly memoryLog: MemoryLog;
  readonly observations: Observation[];
  crashed = false;

  constructor(bus: Bus, clock: FakeClock, log: MemoryLog, observations: Observation[]) {
    this.bus = bus;
    this.clock = clock;
    this.memoryLog = log;
    this.observations = observations;
  }

  settle(): Promise<void> {
    return this.clock.settle();
  }

  advance(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }

  async published(query?: ReadQuery): Promise<readonly Event[]> {
    await this.settle();
    const events: Event[] = [];
    for await (const { event } of this.bus.read(query)) events.push(event);
    return events;
  }

  handled(subscription: string): readonly Event[] {
    return this.attempts(subscription).flatMap((one) => (one.outcome === 'handled' ? [one.stored.event] : []));
  }

  attempts(subscription?: string): readonly Ended[] {
    return this.observations.filter(
      (one): one is Ended =>
        one.kind === 'delivery-end' && (subscription === undefined || one.subscription === subscription),
    );
  }

  async waitFor(predicate: (observation: Observation) => boolean, withinMs: number = HOUR_MS): Promise<Observation> {
    const endsMs = this.clock.now() + withinMs;
    for (;;) {
      await this.settle();
      const found = this.observations.find(predicate);
      if (found) return found;
      if (await this.clock.advanceToNext(endsMs - this.clock.now())) continue;
      throw new Error(`not observed within ${withinMs} ms; what was: ${shown(this.observations)}`);
    }
  }

  crash(): MemoryLog {
    this.clock.reset();
    this.crashed = true;
    return leftOf(this.memoryLog);
  }

  async stop(): Promise<void> {
    if (this.crashed) return;
    let stopped = false;
    const stopping = this.bus.stop().finally(() => {
      stopped = true;
    });
    // Told by the await below; until then nobody listens.
    stopping.catch(() => undefined);
    await this.settle();
    while (!stopped && (await this.clock.advanceToNext()));
    await stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

const SHOWN_MAX = 20;

function shown(observations: readonly Observation[]): string {
  if (observations.length === 0) return 'nothing';
  const last = observations.slice(-SHOWN_MAX).map((one) => {
    if (one.kind === 'published') return `published ${one.event.type} ${one.event.id}`;
    if (one.kind === 'delivery-start') return `${one.subscription} started ${one.stored.event.id} (${one.attempt})`;
    if (one.kind === 'delivery-end')
      return `${one.subscription} ${one.outcome} ${one.stored.event.id} (${one.attempt})`;
    return one.kind;
  });
  return `${observations.length > SHOWN_MAX ? '..., ' : ''}${last.join(', ')}`;
}

/**
 * Starts a bus for a test. Whatever the test does, `stop` it (or `await using`).
 * Fails as `createBus` does.
 */
export async function testBus(options: TestBusOptions = {}): Promise<TestBus> {
  const { startMs, seed, memoryLog: place = memoryLog(), modules = [], ...rest } = options;
  const clock = fakeClock(startMs);
  const observations: Observation[] = [];
  // The first module to start, so that nothing a later one handles while starting is missed.
  const observer = defineModule('test-bus', {
    onStart: ({ bus }) => void bus.observe((observation) => observations.push(observation)),
  });
  const bus = await createBus({
    ...rest,
    modules: [observer, ...modules],
    engine: memory(place),
    clock,
    random: seededRandom(seed),
  });
  return new ObservedBus(bus, clock, place, observations);
}
