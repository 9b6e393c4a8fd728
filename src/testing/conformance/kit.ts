import { createBus, type BusOptions } from '../../bus/index.ts';
import {
  defineModule,
  makeEvent,
  systemClock,
  type BatchHandler,
  type Bus,
  type Event,
  type Handler,
  type HandlerContext,
  type HandlerOptions,
  type Module,
  type Observation,
  type SubscriptionState,
  type TransactionClient,
} from '../../core/index.ts';
import type { Capabilities, Engine } from '../../engine/index.ts';
import { fakeClock, realTurn, type FakeClock } from '../fake-clock.ts';
import { ProcessClock } from '../process-clock.ts';
import { seededRandom } from '../seeded-random.ts';
import { holds } from './check.ts';

interface Other {
  readonly engine: Engine;
  readonly clock: ProcessClock;
}

/** Where an engine keeps what it keeps: a directory, a schema, a stream. Empty at first, for one case alone. */
export interface EnginePlace {
  /** An engine on this place, not opened. What an earlier one left there is what the later one finds. */
  open(): Engine;
  /**
   * What a killed process and a power cut leave behind: the engine stops without finishing anything, what it had not
   * made durable may be gone, and the place can be opened again.
   * @param engine where the place is shared; default: all there are
   */
  crash(engine?: Engine): Promise<void>;
  /** For the capability `outbox`: begins a transaction of an application's own on the same database. */
  transaction?(): Promise<ApplicationTransaction>;
  /** Removes the place. Engines may be still open, if the case failed. */
  dispose(): Promise<void>;
}

export interface ApplicationTransaction {
  readonly tx: TransactionClient;
  commit(): Promise<void>;
  rollback(): Promise<void>;
}

/** An engine, as the suite is given it. */
export interface EngineUnderTest {
  readonly name: string;
  /** What the engine is to declare; for what it lacks the suite asserts the refusal. */
  readonly capabilities: Capabilities;
  readonly open: () => EnginePlace | Promise<EnginePlace>;
}

/** What a case has to work with. One bus, which a crash kills and `start` replaces; where the engine is shared, others beside it. */
export interface Kit {
  readonly capabilities: Capabilities;
  readonly clock: FakeClock;
  readonly place: EnginePlace;
  readonly bus: Bus;
  /** What the present bus has told. */
  readonly observations: readonly Observation[];
  start(modules?: readonly Module[], options?: Partial<BusOptions>): Promise<Bus>;
  /** Stops cleanly, letting time pass for handlers that hang. */
  stop(options?: { readonly deadlineMs?: number }): Promise<void>;
  /** Kills all there are. */
  crash(): Promise<void>;
  /** Another process on the place. */
  beside(modules?: readonly Module[], options?: Partial<BusOptions>): Promise<Bus>;
  /** Stops one of those cleanly. */
  leave(bus: Bus): Promise<void>;
  /** Kills one of those. */
  kill(bus: Bus): Promise<void>;
  /** A transaction of an application's own. */
  transaction(): Promise<ApplicationTransaction>;
  settle(): Promise<void>;
  advance(ms: number): Promise<void>;
  /** Waits for a condition, without letting the fake time pass, and lets things settle. */
  until(condition: () => boolean, what: string): Promise<void>;
  /** The same where things never settle. */
  untilBusy(condition: () => boolean, what: string): Promise<void>;
  state(subscription?: string): Promise<SubscriptionState>;
  log(): Promise<readonly Event[]>;
}

/** One case of the suite, numbered by the guarantee it belongs to. */
export interface ConformanceCase {
  /** Such as `G1-1`. Never given to another case. */
  readonly id: string;
  readonly title: string;
  readonly run: (kit: Kit) => Promise<void>;
  /** The capability it is about: an engine without it is asserted to refuse it. */
  readonly needs: keyof Capabilities | undefined;
}

export function conformanceCase(
  id: string,
  title: string,
  run: ConformanceCase['run'],
  needs?: keyof Capabilities,
): ConformanceCase {
  return { id, title, run, needs };
}

/** Real time a condition is waited for: only a broken engine needs it all. */
const UNTIL_REAL_MS = 20_000;
/**
 * Real time a turn waits for the engine, however slow its disk. Only an engine that waits for the case itself, in the
 * transaction of a handler that hangs, takes it all: such a case waits by `untilBusy`.
 */
const TURN_REAL_MS = 5_000;

const ignored = (): void => undefined;

class CaseKit implements Kit {
  readonly capabilities: Capabilities;
  readonly clock: FakeClock;
  readonly place: EnginePlace;
  engine: Engine | null = null;
  running: Bus | null = null;
  readonly others: Map<Bus, Other> = new Map();
  observations: Observation[] = [];

  constructor(capabilities: Capabilities, place: EnginePlace) {
    this.capabilities = capabilities;
    this.place = place;
    this.clock = fakeClock(undefined, { turn: () => this.roundTrip() });
  }

  get bus(): Bus {
    holds(this.running !== null, 'the case has no bus running');
    return this.running;
  }

  /** Lets the engines answer all that they were asked: commits, then reads. */
  async roundTrip(): Promise<void> {
    const engines = [...this.others.values()].map(({ engine }) => engine);
    if (this.engine && this.running) engines.push(this.engine);
    if (engines.length === 0) return;
    const answered = Promise.all(
      engines.map(async (engine) => {
        await engine.flush();
        await engine.subscriptionNames();
      }),
    ).catch(ignored);
    let timer: { cancel(): void } | undefined;
    const late = new Promise<void>((resolve) => {
      timer = systemClock.setTimer(TURN_REAL_MS, resolve);
    });
    await Promise.race([answered, late]);
    timer?.cancel();
  }

  async start(modules: readonly Module[] = [], options: Partial<BusOptions> = {}): Promise<Bus> {
    const observations: Observation[] = [];
    const observer = defineModule('observer', {
      onStart: ({ bus }) => void bus.observe((observation) => observations.push(observation)),
    });
    this.observations = observations;
    this.engine = this.place.open();
    this.running = await createBus({
      random: seededRandom(),
      clock: this.clock,
      ...options,
      engine: this.engine,
      modules: [observer, ...modules],
    });
    return this.running;
  }

  async beside(modules: readonly Module[] = [], options: Partial<BusOptions> = {}): Promise<Bus> {
    const engine = this.place.open();
    const clock = new ProcessClock(this.clock);
    const bus = await createBus({ random: seededRandom(), clock, ...options, engine, modules });
    this.others.set(bus, { engine, clock });
    return bus;
  }

  async leave(bus: Bus): Promise<void> {
    await this.ended(bus.stop());
    this.others.delete(bus);
  }

  async kill(bus: Bus): Promise<void> {
    const { engine, clock } = this.others.get(bus) as Other;
    clock.alive = false;
    this.others.delete(bus);
    await this.place.crash(engine);
  }

  transaction(): Promise<ApplicationTransaction> {
    holds(this.place.transaction !== undefined, 'a place of an engine with an outbox has transactions to begin');
    return this.place.transaction();
  }

  async stop(options?: { readonly deadlineMs?: number }): Promise<void> {
    const stopping = this.bus.stop(options).finally(() => {
      this.running = null;
    });
    await this.ended(stopping);
  }

  /** Lets time pass until it has ended. */
  async ended(stopping: Promise<void>): Promise<void> {
    let ended = false;
    const ending = stopping.finally(() => {
      ended = true;
    });
    ending.catch(ignored);
    await this.clock.settle();
    while (!ended) if (!(await this.clock.advanceToNext())) await realTurn();
    await ending;
  }

  async crash(): Promise<void> {
    // The clock first: a dead process has no timers, and its deferred calls never run.
    this.clock.reset();
    this.running = null;
    this.engine = null;
    this.others.clear();
    await this.place.crash();
    this.clock.reset();
  }

  settle(): Promise<void> {
    return this.clock.settle();
  }

  advance(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }

  until(condition: () => boolean, what: string): Promise<void> {
    return this.wait(condition, what, () => this.clock.settle());
  }

  untilBusy(condition: () => boolean, what: string): Promise<void> {
    return this.wait(condition, what, realTurn);
  }

  async wait(condition: () => boolean, what: string, step: () => Promise<void>): Promise<void> {
    const endsMs = systemClock.monotonic() + UNTIL_REAL_MS;
    while (!condition()) {
      holds(systemClock.monotonic() < endsMs, `${what} did not come about`);
      await step();
    }
  }

  async state(subscription: string = 'suite.h'): Promise<SubscriptionState> {
    const found = (await this.bus.subscriptions()).find((one) => one.name === subscription);
    holds(found !== undefined, `there is no subscription ${subscription}`);
    return found;
  }

  async log(): Promise<readonly Event[]> {
    const events: Event[] = [];
    for await (const { event } of this.bus.read()) events.push(event);
    return events;
  }
}

/** Runs one case on a fresh place, and leaves nothing behind. */
export async function runCase(engine: EngineUnderTest, { run }: ConformanceCase): Promise<void> {
  const place = await engine.open();
  const kit = new CaseKit(engine.capabilities, place);
  try {
    await run(kit);
    for (const bus of kit.others.keys()) await kit.kill(bus);
    if (kit.running) await kit.stop({ deadlineMs: 1 }).catch(ignored);
  } finally {
    kit.clock.reset();
    await place.dispose();
  }
}

/** Attributes of an event of the suite, and its data. */
export interface Given extends Readonly<Record<string, unknown>> {
  readonly key?: string;
  readonly type?: string;
  readonly source?: string;
  readonly data?: unknown;
}

/** An event with everything about it decided by the case. */
export function happened(id: string, given: Given = {}): Event {
  const { key, type = 'thing.happened', source = '/suite', data, ...attributes } = given;
  return makeEvent(
    { specversion: '1.0', id, source, type, subject: key, ...attributes },
    'data' in given ? data : { id },
  );
}

/** So many events, `<name>1` first. */
export function several(count: number, name: string, given: Given = {}): readonly Event[] {
  return Array.from({ length: count }, (_, index) => happened(`${name}${index + 1}`, given));
}

/** What a handler of the suite was called with. */
export interface Call {
  readonly id: string;
  readonly attempt: number;
  readonly atMs: number;
  readonly event: Event;
}

/** A handler that remembers its calls. `act` decides how each ends; by default well. */
export function recorder(
  kit: Kit,
  act: (event: Event, context: HandlerContext) => unknown = ignored,
): { readonly calls: Call[]; readonly ids: () => string[]; readonly handler: Handler } {
  const calls: Call[] = [];
  return {
    calls,
    ids: () => calls.map((call) => call.id),
    handler: (event, context) => {
      calls.push({ id: event.id, attempt: context.attempt, atMs: kit.clock.now(), event });
      return act(event, context);
    },
  };
}

/** The module `suite` with one handler, `suite.h`, of everything from the beginning. */
export function handles(handler: Handler, options: HandlerOptions = {}, target: string = '>'): Module {
  return defineModule('suite', (m) => m.handle(target, handler, { name: 'h', from: 'beginning', ...options }));
}

/** The same for a batch handler. */
export function handlesBatches(handler: BatchHandler, options: HandlerOptions = {}): Module {
  return defineModule('suite', (m) => m.handleBatch('>', handler, { name: 'h', from: 'beginning', ...options }));
}

/** Never ends: what a crash interrupts. */
export function forever(): Promise<never> {
  return new Promise(ignored);
}

/** A promise that the case keeps. */
export interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

export function gate(): Gate {
  let open = ignored;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}

/** Fails as an application's code does. */
export function fail(message: string = 'no luck'): never {
  throw new Error(message);
}
