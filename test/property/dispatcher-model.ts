import { createBus } from '../../src/bus/index.ts';
import {
  defineModule,
  fixed,
  makeEvent,
  type Bus,
  type Event,
  type HandlerContext,
  type Observation,
  type Published,
} from '../../src/core/index.ts';
import { fakeClock, seededRandom, type FakeClock } from '../../src/testing/index.ts';
import { realTurn } from '../../src/testing/fake-clock.ts';
import { AloneStage, SharedStage, type Process, type Stage } from './stages.ts';

/** How one attempt ends. `slow` takes 50 ms; `hang` ignores its signal until it is fenced off. */
export type Outcome = 'ok' | 'throw' | 'later' | 'give-up' | 'hang' | 'slow' | 'publish';

export interface Setup {
  readonly seed: number;
  readonly order: 'key' | 'total' | 'none';
  readonly onDead: 'continue' | 'hold';
  readonly concurrency: number;
  readonly attemptsMax: number;
  readonly batch: number;
  readonly readAheadMax: number;
  /** How many processes share the log; one has it for itself. */
  readonly processes: number;
}

export interface Planned {
  readonly key: number;
  /** How the event's attempts end, one after the other; well when there are no more. */
  readonly outcomes: readonly Outcome[];
}

export type Command =
  | { readonly do: 'publish'; readonly events: readonly Planned[] }
  | { readonly do: 'publish-again'; readonly which: number }
  | { readonly do: 'turns'; readonly count: number }
  | { readonly do: 'settle' }
  | { readonly do: 'advance'; readonly ms: number }
  /** `which` process: of those there are. */
  | { readonly do: 'crash'; readonly which?: number }
  | { readonly do: 'restart'; readonly which?: number }
  /** One more process, or one less. */
  | { readonly do: 'join' }
  | { readonly do: 'leave'; readonly which: number }
  /** Neither asks nor hears anything for a time; its handlers go on. */
  | { readonly do: 'hang'; readonly which: number; readonly ms: number }
  | { readonly do: 'redrive' }
  | { readonly do: 'discard' }
  | { readonly do: 'full'; readonly full: boolean };

type Status = 'waiting' | 'running' | 'retrying' | 'handled' | 'dead' | 'discarded';

/** What the model knows of one event. */
interface Known {
  readonly id: string;
  readonly key: string;
  readonly outcomes: readonly Outcome[];
  status: Status;
  /** Runs of the handler, in all lives. */
  runs: number;
  /** The highest attempt seen since the last redrive. */
  attempt: number;
  /** Crashes since the last run: each may have counted an attempt. */
  crashes: number;
  /** Handled or dead, and a crash cannot undo that any more. */
  settled: boolean;
  /** Ended shortly before a crash, which may have undone it. */
  doubtful: boolean;
  /** Who ran it last. */
  by: Process | null;
  endedMs: number;
  /** Its attempts may be counted from 1 again. */
  redriven: boolean;
  /** Redriven where its key went on without it: later events of the key need not wait. */
  late: boolean;
  published: Published | null;
  /** The follow-up of the attempt that went well, if it published one. */
  followUp: string | null;
}

const TIMEOUT_MS = 1000;
const GRACE_MS = 200;
const RETRY_MS = 300;
const LATER_MS = 700;
const LINGER_MS = 10;
/** What could not be written for want of room is tried again within this time. */
const FULL_RETRY_MS = 500;
const LEASE_MS = 10_000;
const PROCESSES_MAX = 4;
const HISTORY_SHOWN = 200;
const SUBSCRIPTION = 'model.h';
const FOLLOW_UP = 'follow.up';

/** Runs commands against buses on unreliable stores, and checks what the handler sees against the guarantees. */
export class Simulation {
  readonly setup: Setup;
  readonly stage: Stage;
  readonly random: () => number;
  readonly clock: FakeClock;
  readonly known: Map<string, Known> = new Map();
  readonly inHand: Set<Known> = new Set();
  readonly problems: string[] = [];
  readonly history: string[] = [];
  processes: Process[] = [];
  lives = 0;
  crashesInAll = 0;
  wellFromNow = false;
  /** When the store was full last. */
  fullMs = 0;
  /** Redrives of this life under way. */
  redrives = 0;
  /** Publishes so far: the processes take turns. */
  sends = 0;

  constructor(setup: Setup) {
    this.setup = setup;
    this.random = seededRandom(setup.seed);
    const latency = seededRandom(setup.seed + 1);
    this.stage = this.shared
      ? new SharedStage(latency, LEASE_MS, (process) => this.buried(process))
      : new AloneStage(latency);
    this.clock = fakeClock(undefined, { turn: () => this.stage.idle() });
  }

  get shared(): boolean {
    return this.setup.processes > 1;
  }

  get full(): boolean {
    return this.processes.some(({ store }) => store.full);
  }

  /** One of the processes there are. */
  pick(which: number = 0): Process {
    return this.processes[which % this.processes.length] as Process;
  }

  get bus(): Bus {
    return this.pick().bus as Bus;
  }

  // Life of the process.

  async start(): Promise<void> {
    for (let no = 0; no < this.setup.processes; no++) await this.join();
  }

  async join(): Promise<void> {
    const { order, onDead, concurrency, attemptsMax, batch, readAheadMax } = this.setup;
    const process = this.stage.enter(++this.lives, this.clock);
    const options = {
      name: 'h',
      from: 'beginning',
      order,
      onDead: order === 'none' ? 'continue' : onDead,
      concurrency: order === 'total' ? 1 : concurrency,
      retry: fixed({ delayMs: RETRY_MS, attemptsMax }),
      timeoutMs: TIMEOUT_MS,
    } as const;
    const module = defineModule('model', (m) => {
      m.onStart(({ bus }) => void bus.observe((observation) => this.observed(observation, process)));
      if (batch === 0) m.handle('>', (event, context) => this.handle([event], context, process), options);
      else
        m.handleBatch('>', (events, context) => this.handle(events, context, process), {
          ...options,
          batch: { size: batch },
        });
    });
    // One that starts waits for room.
    this.setFull(false);
    this.processes.push(process);
    process.bus = await createBus({
      engine: process.engine,
      modules: [module],
      clock: process.clock,
      random: this.random,
      limits: { readAheadMax, abortGraceMs: GRACE_MS, ackLingerMs: LINGER_MS },
    });
  }

  crash(process: Process): void {
    this.history.push(`crash of ${process.no}`);
    this.stage.kill(process);
    this.processes = this.processes.filter((one) => one !== process);
    this.ended(process);
    this.crashesInAll++;
    this.redrives = 0;
  }

  /** What a process had in hand is in doubt: it was killed, or taken for dead. */
  ended(process: Process): void {
    for (const one of this.known.values()) {
      one.crashes++;
      if (one.by !== process) continue;
      this.inHand.delete(one);
      one.doubtful ||= !one.settled;
      if (one.status !== 'running') continue;
      // Its commit may have been applied and not told.
      const acknowledged = this.stage.log.events.some(({ id }) => id === one.followUp);
      one.status = acknowledged ? 'handled' : 'retrying';
      one.doubtful = !acknowledged;
    }
  }

  /** The others took it for dead; if it lives, it starts over once it has found out. */
  buried(process: Process): void {
    this.history.push(`buried ${process.no}`);
    // What was published since it was killed may count as tried: nobody knows when it died.
    if (process.over) {
      for (const one of this.known.values()) one.crashes++;
      return;
    }
    process.over = true;
    this.ended(process);
  }

  async hang(process: Process, ms: number): Promise<void> {
    if (!this.shared) return;
    let goOn = (): void => undefined;
    process.store.hung = new Promise((resolve) => (goOn = resolve));
    await this.clock.advance(ms);
    process.store.hung = null;
    process.awakeSinceMs = this.clock.now();
    goOn();
    await this.clock.settle();
  }

  async stop(process: Process): Promise<void> {
    const { bus } = process;
    if (!bus) return;
    this.setFull(false);
    let stopped = false;
    const stopping = bus
      .stop({ deadlineMs: 3000 })
      .catch((error: { code?: string }) => {
        if (error.code !== 'CARILLON_DRAIN_TIMEOUT') throw error;
      })
      .finally(() => {
        stopped = true;
      });
    for (let steps = 0; !stopped && steps < 1000; steps++) await this.clock.advanceToNext();
    if (!stopped) this.problems.push('stop never ends');
    else await stopping;
    this.processes = this.processes.filter((one) => one !== process);
    for (const one of this.known.values()) {
      if (one.by !== process) continue;
      this.inHand.delete(one);
      if (one.status === 'running') one.status = 'retrying';
    }
    this.allDurable(0, process);
    process.clock.alive = false;
    process.over = true;
    this.history.push(`stopped ${process.no}`);
  }

  async stopAll(): Promise<void> {
    for (const process of this.processes) await this.stop(process);
  }

  /** All that came to an end longer ago than this cannot be undone by a crash any more. */
  allDurable(agoMs: number, process?: Process): void {
    const beforeMs = this.clock.now() - agoMs;
    for (const one of this.known.values()) {
      if (process && one.by !== process) continue;
      const endedMs = Math.max(one.endedMs, one.by?.awakeSinceMs ?? 0);
      if ((one.status === 'handled' || one.status === 'dead') && !one.doubtful && endedMs <= beforeMs)
        one.settled = true;
    }
  }

  setFull(full: boolean): void {
    if (this.full) this.fullMs = this.clock.now();
    for (const { store } of this.processes) store.full = full;
  }

  // Commands.

  async run(command: Command): Promise<void> {
    this.history.push(JSON.stringify(command));
    switch (command.do) {
      case 'publish':
        return this.publish(command.events);
      case 'publish-again':
        return this.publishAgain(command.which);
      case 'turns':
        for (let turn = 0; turn < command.count; turn++) await realTurn();
        return;
      case 'settle':
        return this.clock.settle();
      case 'advance':
        await this.clock.advance(command.ms);
        if (!this.full && this.clock.now() > this.fullMs + FULL_RETRY_MS) this.allDurable(LINGER_MS);
        return;
      case 'crash':
        this.crash(this.pick(command.which));
        return this.join();
      case 'restart':
        await this.stop(this.pick(command.which));
        return this.join();
      case 'join':
        return this.processes.length < PROCESSES_MAX ? this.join() : undefined;
      case 'leave':
        return this.processes.length > 1 ? this.stop(this.pick(command.which)) : undefined;
      case 'hang':
        return this.hang(this.pick(command.which), command.ms);
      case 'redrive':
        return this.pass(this.redrive());
      case 'discard':
        return this.pass(this.bus.deadLetters.discard({ subscription: SUBSCRIPTION }));
      case 'full':
        return this.setFull(command.full);
    }
  }

  /** Lets it happen whenever it does: a crash may come first, and a full store may refuse. */
  pass(doing: Promise<unknown> | undefined): void {
    doing?.catch((error: Error & { code?: string }) => {
      if (error.code !== 'CARILLON_STORAGE_FULL' && error.code !== 'CARILLON_STOPPED')
        this.problems.push(error.message);
    });
  }

  async redrive(): Promise<void> {
    const process = this.pick();
    this.redrives++;
    for (const one of this.known.values()) if (one.status === 'dead') this.mayBeRedriven(one);
    await process.bus?.deadLetters.redrive({ subscription: SUBSCRIPTION });
    if (!process.over) this.redrives = Math.max(0, this.redrives - 1);
  }

  mayBeRedriven(one: Known): void {
    one.redriven = true;
    one.late ||= this.setup.onDead === 'continue' || this.setup.order === 'none';
  }

  publish(planned: readonly Planned[]): void {
    const made = planned.map(({ key, outcomes }) => {
      const id = `e${this.known.size}`;
      this.know(id, key === 0 ? id : `k${key}`, outcomes);
      return this.eventOf(id);
    });
    this.send(made);
  }

  know(id: string, key: string, outcomes: readonly Outcome[]): Known {
    const one: Known = {
      id,
      key,
      outcomes,
      status: 'waiting',
      runs: 0,
      attempt: 0,
      crashes: 0,
      settled: false,
      doubtful: false,
      by: null,
      endedMs: 0,
      redriven: false,
      late: false,
      published: null,
      followUp: null,
    };
    this.known.set(id, one);
    return one;
  }

  publishAgain(which: number): void {
    const ids = [...this.known.keys()].filter((id) => id.startsWith('e'));
    const id = ids[which % Math.max(1, ids.length)];
    if (id !== undefined) this.send([this.eventOf(id)]);
  }

  eventOf(id: string): Event {
    const { key } = this.known.get(id) as Known;
    return makeEvent(
      { specversion: '1.0', id, source: '/model', type: 'model.event', subject: key === id ? undefined : key },
      null,
    );
  }

  send(events: readonly Event[]): void {
    const publishing = this.pick(this.sends++)
      .bus?.publish(events)
      .then((results) => {
        for (const result of results) {
          const one = this.known.get(result.id) as Known;
          if (one.published && one.published.position !== result.position) {
            this.problems.push(`G4: ${result.id} was published at ${one.published.position} and at ${result.position}`);
          }
          one.published = result;
        }
      });
    this.pass(publishing);
  }

  // What the handler sees.

  async handle(events: readonly Event[], context: HandlerContext, process: Process): Promise<unknown> {
    if (!process.clock.alive) return new Promise(() => undefined);
    if (process.over) this.problems.push(`${events[0]?.id} was begun by a process that is taken for dead`);
    const handled = events.map((event) => this.begins(event, context, events.length, process));
    const first = handled[0] as Known;
    const outcome = (this.wellFromNow ? [] : first.outcomes)[first.runs - 1] ?? 'ok';
    switch (outcome) {
      case 'throw':
        throw new Error('scripted');
      case 'later':
        return context.retryLater(LATER_MS);
      case 'give-up':
        return context.giveUp('scripted');
      case 'hang':
        return new Promise(() => undefined);
      case 'slow':
        return new Promise<void>((resolve) => process.clock.setTimer(50, resolve));
      case 'publish': {
        const id = `f-${first.id}-${context.attempt}-${process.no}-${first.runs}`;
        this.know(id, id, []);
        for (const one of handled) one.followUp = id;
        return context.publish(makeEvent({ specversion: '1.0', id, source: '/model', type: FOLLOW_UP }, null));
      }
      case 'ok':
        return undefined;
    }
  }

  begins(event: Event, context: HandlerContext, size: number, process: Process): Known {
    const one = this.known.get(event.id);
    if (!one) throw new Error(`an event nobody published: ${event.id}`);
    const { events } = this.stage.log;
    const position = events.find((row) => row.id === event.id)?.position ?? 0;
    const by = this.shared ? ` by ${process.no}` : '';
    this.history.push(`  start ${event.id} ${one.key} attempt ${context.attempt}${size > 1 ? ` of ${size}` : ''}${by}`);
    const problem = (text: string): void =>
      void this.problems.push(`${event.id} at attempt ${context.attempt}: ${text}`);

    if (one.status === 'handled' && !one.doubtful) problem('handled before, and no crash undid that');
    if (one.status === 'discarded') problem('was discarded');
    const followUps = events.filter((row) => row.id.startsWith(`f-${event.id}-`));
    if (followUps.length > 0) problem(`its follow-up ${followUps[0]?.id} is in the log: it was acknowledged`);
    if (this.setup.order !== 'none') this.checkOrder(one, position, problem);
    one.status = 'running';
    one.by = process;
    one.followUp = null;
    one.runs++;
    one.crashes = 0;
    this.inHand.add(one);
    return one;
  }

  checkAttempt(one: Known, attempt: number, problem: (text: string) => void): void {
    const before = one.redriven || (one.status === 'dead' && attempt === 1) ? 0 : one.attempt;
    const { attempt: reached } = one;
    one.redriven = false;
    if (attempt > this.setup.attemptsMax) problem('more than attemptsMax');
    // Of a batch that failed, those behind another one of their key go back uncounted.
    if (this.setup.batch === 0 && attempt <= before)
      problem(`attempt ${before} was made before: a run was not counted`);
    if (attempt > reached + 1 + one.crashes)
      problem(`attempt ${reached} came before it: one was counted that did not run`);
    one.attempt = attempt;
  }

  checkOrder(one: Known, position: number, problem: (text: string) => void): void {
    const total = this.setup.order === 'total';
    for (const row of this.stage.log.events) {
      const other = this.known.get(row.id);
      if (!other || other === one || (!total && other.key !== one.key)) continue;
      if (this.inHand.has(other) && this.setup.batch === 0) problem(`G3: ${other.id} of the same key is running`);
      if (row.position >= position || other.late || one.late) continue;
      const over =
        other.status === 'handled' ||
        other.status === 'discarded' ||
        (other.status === 'dead' && this.setup.onDead === 'continue');
      // In a batch the earlier one may be running in the same call.
      if (!over && !(this.setup.batch > 0 && this.inHand.has(other)))
        problem(`G3: ${other.id} came before it and is ${other.status}`);
    }
  }

  observed(observation: Observation, process: Process): void {
    if (process.over) return;
    if (observation.kind === 'delivery-start') {
      const { attempt, stored } = observation;
      const one = this.known.get(stored.event.id);
      if (one)
        this.checkAttempt(one, attempt, (text) => this.problems.push(`${one.id} at attempt ${attempt}: ${text}`));
      return;
    }
    if (observation.kind !== 'delivery-end') return;
    const one = this.known.get(observation.stored.event.id);
    if (!one) return;
    this.history.push(`  ${observation.outcome} ${one.id} attempt ${observation.attempt}`);
    this.inHand.delete(one);
    one.settled = false;
    one.doubtful = false;
    one.endedMs = this.clock.now();
    if (observation.outcome === 'handled' || observation.outcome === 'dead') one.late = false;
    if (observation.outcome === 'handled') one.status = 'handled';
    else if (observation.outcome === 'dead') one.status = 'dead';
    else one.status = 'retrying';
    if (observation.outcome !== 'handled') one.followUp = null;
    if (one.status !== 'dead') return;
    one.attempt = Math.max(one.attempt, observation.attempt);
    // A redrive that is under way may find it, too.
    if (this.redrives > 0) this.mayBeRedriven(one);
  }

  // The end.

  /** Lets everything come to its end, and checks that every event did: G2. */
  async finish(): Promise<void> {
    this.history.push('finish');
    this.setFull(false);
    await this.clock.settle();
    for (let round = 0; round < 6; round++) {
      await this.clock.advance((TIMEOUT_MS + GRACE_MS + LATER_MS) * (this.setup.attemptsMax + 1) * 4);
      if (round < 5) await this.redrive();
      if (round === 4) this.wellFromNow = true;
    }
    await this.untilQuiet();
    await this.checkEnd();
  }

  /** Behind a held key everything has to run after a redrive: as long as it takes. */
  async untilQuiet(): Promise<void> {
    for (let round = 0; round < 300; round++) {
      const letters = await this.bus.deadLetters.list({ limit: 1000 });
      const [state] = await this.bus.subscriptions();
      if (
        letters.length === 0 &&
        state &&
        state.retrying + state.held + state.running + state.waiting + state.lag === 0
      )
        return;
      await this.redrive();
      await this.clock.advance(TIMEOUT_MS + GRACE_MS + LATER_MS);
    }
    const states = await this.bus.subscriptions();
    const letters = await this.bus.deadLetters.list({ limit: 1000 });
    this.problems.push(
      `G2: never comes to an end: ${JSON.stringify([states, letters.map(({ position }) => position)])}`,
    );
  }

  async checkEnd(): Promise<void> {
    const inLog = new Map<string, number>();
    for (const row of this.stage.log.events) {
      if (inLog.has(row.id)) this.problems.push(`G4: ${row.id} is in the log twice`);
      inLog.set(row.id, row.position);
    }
    for (const one of this.known.values()) {
      const position = inLog.get(one.id);
      if (one.published && one.published.position !== position)
        this.problems.push(`G1: ${one.id} was published and is not in its place`);
      if (position === undefined) continue;
      if (one.status !== 'handled' && one.status !== 'discarded')
        this.problems.push(`G2: ${one.id} is ${one.status} in the end`);
      if (one.followUp !== null && !inLog.has(one.followUp))
        this.problems.push(`${one.id} is handled without its follow-up`);
    }
    await Promise.resolve();
  }

  /** Throws when something was not as it has to be. */
  assertSound(): void {
    if (this.problems.length === 0) return;
    throw new Error(`${this.problems.join('\n')}\n${this.history.slice(-HISTORY_SHOWN).join('\n')}`);
  }
}
