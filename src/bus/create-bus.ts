import {
  assertAsyncOptions,
  assertPattern,
  carillonError,
  orderModules,
  resolveLimits,
  silentLogger,
  systemClock,
  toError,
  validatedBy,
  type AnyEventDefinition,
  type AsyncDeclaration,
  type Bus,
  type BusHealth,
  type Clock,
  type DeadLetters,
  type DefinedEvent,
  type Event,
  type Handler,
  type HandlerFor,
  type HandlerOptions,
  type Limits,
  type Logger,
  type Module,
  type Observation,
  type Page,
  type Published,
  type PublishOptions,
  type ReadQuery,
  type RequestOptions,
  type StoredEvent,
  type Strategy,
  type SubscriptionHandle,
  type SubscriptionState,
  type Target,
} from '../core/index.ts';
import { Dispatcher, type DispatchHost, type OpenedSubscription, type Runner } from '../dispatch/index.ts';
import type { AnsweredElsewhere, AppendUnit, Engine } from '../engine/index.ts';
import { busDeadLetters } from './dead-letters.ts';
import { EventGate } from './event-gate.ts';
import { assertOverridesKnown, handlerSpec, subscriptionName } from './handler-spec.ts';
import { Observers } from './observers.ts';
import { Publisher } from './publisher.ts';
import { follow, readAll, readPage } from './reading.ts';
import { checkedAnswer, Requests } from './requests.ts';
import { collect, StartedModules } from './started-modules.ts';
import { SyncHandlers } from './sync-handlers.ts';

/** What a bus is made of. */
export interface BusOptions {
  /** Where events are stored: `memory()`, `sqlite(directory)`. Opened by the bus, and closed when it stops. */
  readonly engine: Engine;
  /** Started in the order of their dependencies, stopped in reverse. */
  readonly modules?: readonly Module[];
  /** Event types known beside those of the modules: raw events of theirs are validated when published. */
  readonly events?: readonly AnyEventDefinition[];
  /** Strategy options that replace those in the code, by subscription name: the place for configuration. */
  readonly strategies?: Readonly<Record<string, Strategy>>;
  readonly limits?: Partial<Limits>;
  /** Default: says nothing. */
  readonly log?: Logger;
  /** Default: the machine's. Tests give a fake one. */
  readonly clock?: Clock;
  /** Names this process in the records of attempts. Default `bus`; the server gives host and pid. */
  readonly worker?: string;
  /** Numbers from 0 up to 1, for jitter. Default Math.random; simulations give a seeded one. */
  readonly random?: () => number;
}

const DRAIN_DEADLINE_MS = 10_000;

/**
 * Makes and starts a bus: opens the engine, starts the modules, begins to deliver.
 * Fails as `engine.open` does, with `CARILLON_MODULE_INVALID`, `CARILLON_MODULE_CYCLE`, `CARILLON_TYPE_CONFLICT`,
 * `CARILLON_STRATEGY_INVALID`, or with what a module's start hook threw; whatever was started is stopped again then.
 */
export async function createBus(options: BusOptions): Promise<Bus> {
  const bus = new CarillonBus(options);
  await bus.start();
  return bus;
}

/** States: `starting` → `ready` ⇄ `degraded` (storage full, a module unhealthy) → `stopping` → `stopped`; any → `failed`. */
type Life = 'starting' | 'ready' | 'failed' | 'stopping' | 'stopped';

class CarillonBus implements Bus, DispatchHost {
  readonly options: BusOptions;
  readonly engine: Engine;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Logger;
  readonly worker: string;
  readonly random: () => number;
  readonly deadLetters: DeadLetters;
  readonly observers: Observers;
  readonly publisher: Publisher;
  readonly requests: Requests;
  readonly dispatcher: Dispatcher;
  readonly modules: StartedModules;
  answered: DispatchHost['answered'] = null;
  life: Life = 'starting';
  failure: Error | null = null;
  storageFull = false;
  unreachable: Error | null = null;
  stopping: Promise<void> | null = null;

  constructor(options: BusOptions) {
    this.options = options;
    this.engine = options.engine;
    this.clock = options.clock ?? systemClock;
    this.limits = resolveLimits(options.limits);
    this.log = options.log ?? silentLogger;
    this.worker = options.worker ?? 'bus';
    this.random = options.random ?? Math.random;
    const { engine, clock, limits, log } = this;
    this.observers = new Observers(log);
    const gate = new EventGate(limits);
    this.publisher = new Publisher({
      engine,
      clock,
      limits,
      gate,
      syncHandlers: new SyncHandlers(clock, limits, log),
      observers: this.observers,
    });
    this.requests = new Requests(clock, limits);
    this.dispatcher = new Dispatcher(this);
    this.modules = new StartedModules(this, log);
    this.deadLetters = busDeadLetters(engine, gate);
  }

  // Life.

  async start(): Promise<void> {
    const { clock, limits, log, options } = this;
    const { gate, syncHandlers } = this.publisher;
    const modules = orderModules(options.modules ?? []);
    assertOverridesKnown(modules, options.strategies);
    for (const definition of options.events ?? []) gate.define(definition);
    for (const module of modules) for (const definition of module.definitions) gate.define(definition);
    // All sync handlers first: an event published while starting must not slip past one.
    for (const module of modules) {
      for (const one of module.handlers) if (one.kind === 'sync') syncHandlers.add(subscriptionName(module, one), one);
    }
    const onFailure = (error: Error): void => this.fail(error);
    const onStorageFull = (full: boolean): void => this.setStorageFull(full);
    const onUnreachable = (reason: Error | null): void => this.setUnreachable(reason);
    const onAnswer = ({ subscription, outcome, ...asked }: AnsweredElsewhere): void =>
      this.requests.answered(asked, subscription, outcome);
    await this.engine.open({ clock, limits, log, onFailure, onStorageFull, onUnreachable, onAnswer });
    try {
      // All subscriptions before any hook: what a hook publishes must not be missed by a handler that starts later.
      const opened = new Map<Module, OpenedSubscription[]>();
      for (const module of modules) opened.set(module, await this.openSubscriptions(module));
      for (const module of modules) {
        await this.modules.start(module, () => (opened.get(module) ?? []).map((one) => this.dispatcher.start(one)));
      }
    } catch (error) {
      await this.stop({ deadlineMs: 0 }).catch((stopError: unknown) =>
        log.error('stopping after a failed start failed too', { error: toError(stopError).message }),
      );
      throw error;
    }
    if (this.life === 'starting') this.life = 'ready';
  }

  async openSubscriptions(module: Module): Promise<OpenedSubscription[]> {
    const opened: OpenedSubscription[] = [];
    for (const one of module.handlers) {
      if (one.kind !== 'sync') opened.push(await this.openSubscription(subscriptionName(module, one), one));
    }
    return opened;
  }

  openSubscription(name: string, declaration: AsyncDeclaration): Promise<OpenedSubscription> {
    const { definitions } = this.publisher.gate;
    return this.dispatcher.open(handlerSpec(name, declaration, this.engine, definitions, this.options.strategies));
  }

  fail(error: Error): void {
    if (this.life === 'stopped') return;
    this.failure = error;
    this.life = 'failed';
    this.log.error('the engine has failed', { engine: this.engine.name, error: error.message });
    this.requests.failAll(error);
    this.tell?.({ kind: 'engine-failed', error });
  }

  setStorageFull(full: boolean): void {
    if (this.storageFull === full) return;
    this.storageFull = full;
    if (full) this.log.error('the storage is full: publishes are refused until there is room');
    else this.log.info('the storage has room again');
    this.tell?.({ kind: 'storage-full', full });
  }

  setUnreachable(reason: Error | null): void {
    this.unreachable = reason;
    if (reason) this.log.error('the database cannot be used: everything waits for it', { error: reason.message });
    else this.log.info('the database can be used again');
  }

  stop({ deadlineMs = DRAIN_DEADLINE_MS }: { readonly deadlineMs?: number } = {}): Promise<void> {
    this.stopping ??= this.shutDown(deadlineMs);
    return this.stopping;
  }

  async shutDown(deadlineMs: number): Promise<void> {
    if (this.life !== 'failed') this.life = 'stopping';
    this.requests.failAll(stopped());
    const endsAt = this.clock.monotonic() + deadlineMs;
    const stopRunners = (runners: readonly Runner[]): Promise<boolean> =>
      this.dispatcher.stop(runners, Math.max(0, endsAt - this.clock.monotonic()));
    const errors: unknown[] = [];
    const ofModules = this.modules.runners;
    const others = [...this.dispatcher.runners.values()].filter((runner) => !ofModules.has(runner));
    const othersInTime = await collect(errors, () => stopRunners(others));
    const modules = await this.modules.stop(stopRunners);
    errors.push(...modules.errors);
    await collect(errors, () => this.engine.close());
    this.life = 'stopped';
    if (errors.length > 0) throw toError(errors[0]);
    if (!modules.inTime || othersInTime === false) {
      const message = `handlers were still running ${deadlineMs} ms after stop`;
      throw carillonError('CARILLON_DRAIN_TIMEOUT', message, { deadlineMs });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async drain({ deadlineMs = Infinity }: { readonly deadlineMs?: number } = {}): Promise<void> {
    this.assertRunning();
    const { last } = await this.engine.ends();
    const all = Promise.all([...this.dispatcher.runners.values()].map((runner) => runner.source.caughtUp(last)))
      // What was handled is durable, and what handlers published is in the log.
      .then(() => this.engine.flush());
    if (deadlineMs === Infinity) return all;
    let timer: { cancel(): void } | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = this.clock.setTimer(deadlineMs, () =>
        reject(carillonError('CARILLON_DRAIN_TIMEOUT', `not drained within ${deadlineMs} ms`, { deadlineMs })),
      );
    });
    try {
      await Promise.race([all, late]);
    } finally {
      timer?.cancel();
    }
  }

  assertRunning(): void {
    if (this.life === 'failed') throw this.failure ?? stopped();
    if (this.life === 'stopping' || this.life === 'stopped') throw stopped();
  }

  async health(): Promise<BusHealth> {
    const modules = await this.modules.health();
    const reasons = Object.entries(modules)
      .filter(([, { healthy }]) => !healthy)
      .map(([name, { detail }]) => `module ${name} is unhealthy${detail === undefined ? '' : `: ${detail}`}`);
    if (this.storageFull) reasons.push('the storage is full');
    if (this.unreachable) reasons.push(this.unreachable.message);
    if (this.failure) reasons.push(this.failure.message);
    const status = this.life === 'ready' && reasons.length > 0 ? 'degraded' : this.life;
    return { status, engine: this.engine.name, reasons, modules };
  }

  // Publishing.

  publish(event: Event, options?: PublishOptions): Promise<Published>;
  publish(events: readonly Event[], options?: PublishOptions): Promise<readonly Published[]>;
  publish(
    given: Event | readonly Event[],
    options: PublishOptions = {},
  ): Promise<Published> | Promise<readonly Published[]> {
    try {
      this.assertMayPublish();
      if (Array.isArray(given)) return this.publisher.publishBatch(given, options);
      return this.publisher.publishOne(given as Event, options);
    } catch (error) {
      return Promise.reject<never>(toError(error));
    }
  }

  /** Handlers may still publish while the bus stops: what they had begun must be able to end. */
  assertMayPublish(): void {
    if (this.life === 'ready' || this.life === 'starting') return;
    if (this.life === 'stopping' && this.dispatcher.runners.size > 0) return;
    this.assertRunning();
  }

  async cancelScheduled(source: string, id: string): Promise<boolean> {
    this.assertRunning();
    return this.engine.cancelScheduled(source, id);
  }

  emit(event: Event): void | Promise<void> {
    return this.publisher.syncHandlers.emit(event);
  }

  // The bus as the dispatcher sees it.

  get tell(): DispatchHost['tell'] {
    return this.observers.tell;
  }

  followUp(event: Event, cause: Event): Event {
    return this.publisher.followUp(event, cause);
  }

  admit(events: readonly Event[]): AppendUnit | Promise<AppendUnit> {
    return this.publisher.admit(events);
  }

  // Requests.

  async request<Response>(
    given: DefinedEvent<unknown, string, Response>,
    options: RequestOptions = {},
  ): Promise<Response> {
    this.assertRunning();
    const { gate } = this.publisher;
    const event = gate.check(given);
    const responders = await this.respondersTo(event);
    this.answered = (...told) => this.requests.answered(...told);
    const answer = this.requests.wait(event, responders, options);
    void this.publishRequest(event, responders.length > 0);
    try {
      // Who asks may know the definition though no module of this process has it.
      const definition = validatedBy(event) ?? gate.definitions.get(event.type);
      return checkedAnswer(definition, await answer) as Response;
    } finally {
      if (this.requests.waiting.size === 0) this.answered = null;
    }
  }

  /** Subscriptions that may answer. What filters others have in other processes is not known here: they may. */
  async respondersTo(event: Event): Promise<readonly string[]> {
    const { runners } = this.dispatcher;
    const here = [...runners.values()]
      .filter(({ spec }) => spec.responds.includes(event.type) && (spec.passes === null || spec.passes(event)))
      .map(({ spec }) => spec.name);
    const { shared } = this.engine.capabilities;
    const elsewhere = shared ? await this.engine.respondersElsewhere(event.type) : [];
    const responders = [...here, ...elsewhere.filter((name) => !runners.has(name))];
    if (responders.length > 0 || this.publisher.syncHandlers.hasFor(event.type)) return responders;
    throw carillonError('CARILLON_NO_RESPONDER', `no handler names ${event.type}, so nobody would answer`, {
      type: event.type,
    });
  }

  /** Publishes a request's event. A sync handler may have answered it by then; a failure is the answer too. */
  async publishRequest(event: Event, mayBeAnsweredLater: boolean): Promise<void> {
    try {
      const { published, answer } = await this.publisher.append([event], {}, true);
      if (published[0]?.duplicate === true) {
        const message = `the event ${event.id} was published before, and its answer is not kept`;
        throw carillonError('CARILLON_REQUEST_FAILED', message, { id: event.id });
      }
      if (answer !== undefined || !mayBeAnsweredLater) this.requests.resolve(event, answer);
    } catch (error) {
      this.requests.reject(event, toError(error));
    }
  }

  // Subscribing and reading.

  async subscribe<const T extends Target>(
    target: T,
    handler: HandlerFor<T>,
    options: HandlerOptions & { readonly name: string },
  ): Promise<SubscriptionHandle> {
    this.assertRunning();
    const declaration = { kind: 'async', target, handler: handler as unknown as Handler<never>, options } as const;
    if (typeof target === 'string') assertPattern(target);
    if (typeof options.name !== 'string' || options.name === '') {
      throw carillonError('CARILLON_OPTION_INVALID', 'a subscription needs a name: it is its durable place', {
        option: 'name',
      });
    }
    assertAsyncOptions(declaration, options.name);
    const runner = this.dispatcher.start(await this.openSubscription(options.name, declaration));
    return {
      name: options.name,
      stop: async () => void (await this.dispatcher.stop([runner], DRAIN_DEADLINE_MS)),
    };
  }

  read(query: ReadQuery = {}): AsyncIterable<StoredEvent> {
    return readAll(this.engine, query);
  }

  async readPage(query: ReadQuery = {}): Promise<Page> {
    return readPage(this.engine, query);
  }

  follow(query: ReadQuery, signal: AbortSignal): AsyncIterable<StoredEvent> {
    return follow(this.engine, query, signal);
  }

  async ends(): Promise<{ readonly first: number; readonly last: number }> {
    return this.engine.ends();
  }

  async subscriptions(): Promise<readonly SubscriptionState[]> {
    return Promise.all([...this.dispatcher.runners.values()].map(stateOf));
  }

  observe(observer: (observation: Observation) => void): () => void {
    return this.observers.add(observer);
  }
}

const stopped = (): Error => carillonError('CARILLON_STOPPED', 'the bus is stopping or stopped');

async function stateOf(runner: Runner): Promise<SubscriptionState> {
  const { spec, counts } = runner;
  const state = await runner.source.state();
  return {
    name: spec.name,
    target: spec.target,
    description: spec.description,
    strategy: spec.given,
    position: state.position,
    lag: Math.max(0, state.last - state.position),
    running: runner.running.size,
    waiting: runner.lanes.waiting,
    retrying: state.retrying,
    held: state.held,
    dead: state.dead,
    handled: counts.handled,
    failed: counts.failed,
    expired: counts.expired,
    stalled: state.stalled,
  };
}
