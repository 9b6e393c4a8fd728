import { randomUUID } from 'node:crypto';
import type { AnyEventDefinition, Clock, Event, HandlerContext } from 'carillon';
import { changedFields, type ConfigField, type MachineConfig } from './config.ts';
import {
  factEvents,
  type MachineState,
  type Outcome,
  type Reason,
  type Verb,
  verbByType,
  VmConfigured,
  VmConfigureRequested,
  VmCrashed,
  VmCreated,
  VmCreateRequested,
  VmDeleted,
  VmFailed,
  VmPaused,
  VmResumed,
  VmSnapshotRequested,
  VmSnapshotTaken,
  VmStarted,
  VmStartRequested,
  VmStopped,
  VmStopRequested,
  VmWasReset,
} from './events.ts';
import type { HostRest } from './host-rest.ts';
import type { Hypervisor } from './hypervisor.ts';
import { HypervisorError } from './hypervisor-error.ts';
import { isLegal, type Power, settled, stateAfter } from './machine-states.ts';
import { absent, type FactRecord, type MachineRecord, type Records } from './records.ts';

/** What all turns share. */
export interface Manager {
  readonly hypervisor: Hypervisor;
  readonly records: Records;
  readonly rest: HostRest;
  readonly clock: Clock;
  /** Lives whose guest has said that it shuts down. */
  readonly shuttingDown: Set<string>;
}

/** How a verb ends: what changes in the record, which fact tells it, and what else the answer says. */
interface Done {
  readonly change?: Partial<MachineRecord>;
  readonly fact: (base: { vm: string; request: string }, attributes: { id: string }) => Event;
  readonly answer?: Partial<Outcome>;
}

/** How often the power button is pressed: a guest that is still booting does not hear it. */
const PRESS_MS = 1_000;
const RESTARTS_MAX = 3;
const RESTING = 'the host is left alone for a while: starts keep failing';
const SNAPSHOTS_MAX = 32;

/**
 * One event of one machine, from the look at what is real to the facts that follow. machine-states.ts says why the
 * record is written when it is.
 *
 * Steps: settle (what happened since the last turn is told and recorded) → act (requests only) → record → publish. An
 * error that may pass is kept in the record and thrown, for the strategy to try again.
 */
export class MachineTurn {
  readonly manager: Manager;
  readonly event: Event<{ readonly vm: string }>;
  readonly context: HandlerContext;
  readonly facts: Event[] = [];
  record: MachineRecord;

  constructor(manager: Manager, event: Event<{ readonly vm: string }>, context: HandlerContext) {
    this.manager = manager;
    this.event = event;
    this.context = context;
    this.record = manager.records.get(event.data.vm);
    // Found by an earlier attempt, and not told: only the commit of a turn tells.
    if (this.isUnderWay) this.facts.push(...remade(this.record.doing?.facts ?? []));
  }

  get vm(): string {
    return this.event.data.vm;
  }

  /** Whether an attempt at this very event has begun to act. */
  get isUnderWay(): boolean {
    return this.record.doing?.request === this.event.id;
  }

  // Settling.

  async settle(): Promise<void> {
    await this.settleInterrupted();
    const { vm, record } = this;
    if (record.run === null) return;
    const power = await this.powerOf(record.run);
    // A stop that is under way is not surprised by the end of the process.
    if (power === 'gone' && this.isUnderWay && record.doing?.verb === 'stop') return;
    const state = settled(record.state, power, this.manager.shuttingDown.has(record.run));
    if (state === record.state) return;
    if (power === 'broken') await this.manager.hypervisor.kill(vm, record.run);
    this.changedByItself(state);
  }

  async powerOf(run: string): Promise<Power> {
    try {
      return await this.manager.hypervisor.look(this.vm, run);
    } catch (error) {
      const mute = error instanceof HypervisorError && error.code === 'unresponsive';
      // Whatever it is like, it can be stopped, and the end of a request be told.
      if (mute && !this.looks()) return this.record.state === 'paused' ? 'paused' : 'running';
      throw error;
    }
  }

  /** Whether what is to be done now depends on an answer from the machine. */
  looks(): boolean {
    return !VmStopRequested.is(this.event) && this.event.type !== 'vm.request.died';
  }

  changedByItself(state: MachineState): void {
    const told = { vm: this.vm, request: null };
    const attributes = { id: `${this.event.id}.found` };
    this.change({ state });
    if (state === 'running') this.facts.push(VmResumed(told, attributes));
    else if (state === 'paused') this.facts.push(VmPaused(told, attributes));
    else {
      this.forgetRun();
      if (state === 'stopped') this.facts.push(VmStopped({ ...told, by: 'guest' }, attributes));
      else this.crashed(told, attributes);
    }
  }

  crashed(told: { vm: string; request: null }, attributes: { id: string }): void {
    this.facts.push(VmCrashed(told, attributes));
    const { config, restarts } = this.record;
    if (config.onCrash !== 'restart' || restarts >= RESTARTS_MAX) return;
    const again = VmStartRequested({ vm: this.vm }, { id: `${this.event.id}.restart` });
    this.change({ restarts: restarts + 1, restart: again.id });
    this.facts.push(again);
  }

  forgetRun(): void {
    if (this.record.run !== null) this.manager.shuttingDown.delete(this.record.run);
    this.change({ run: null, live: null });
  }

  /** A request that the dispatcher has given up: what it left half done is brought to one of the ends. */
  async settleInterrupted(): Promise<void> {
    const { doing } = this.record;
    if (doing === null || this.isUnderWay) return;
    this.facts.push(...remade(doing.facts));
    const { hypervisor } = this.manager;
    const { vm } = this;
    this.change({ doing: null });
    switch (doing.verb) {
      case 'create':
        await hypervisor.removeDisks(vm);
        break;
      case 'start':
        if (doing.run !== undefined) await hypervisor.kill(vm, doing.run);
        break;
      case 'delete':
        // Disks half removed are of no use: what was begun is brought to its end.
        await hypervisor.removeDisks(vm);
        this.record = absent(vm);
        this.facts.push(VmDeleted({ vm, request: doing.request }, { id: givenUp(doing.request) }));
        return;
      default:
        // The others leave a machine that looking can tell.
        break;
    }
    const interrupted = { code: 'interrupted', message: 'the manager ended while it was being done' } as const;
    this.fail(
      doing.verb,
      doing.request,
      doing.error === undefined ? interrupted : { code: 'host', message: doing.error },
    );
  }

  fail(verb: Verb, request: string, reason: Reason): void {
    const definition: AnyEventDefinition = VmFailed[verb];
    const make = definition as unknown as (typeof VmFailed)['start'];
    const told = { ...reason, message: reason.message.slice(0, 2000) };
    this.facts.push(make({ vm: this.vm, request, state: this.record.state, reason: told }, { id: givenUp(request) }));
  }

  change(change: Partial<MachineRecord>): void {
    this.record = { ...this.record, ...change };
  }

  // Acting.

  /** Carries out a request that is this turn's event. */
  async act(verb: Verb): Promise<Outcome> {
    const { state } = this.record;
    if (!isLegal(verb, state)) {
      return this.failed(verb, { code: 'illegal', message: `a machine that is ${state} cannot be asked to ${verb}` });
    }
    try {
      const { change, fact, answer } = await this.perform(verb);
      this.change({ doing: null, state: stateAfter(verb, state), ...change });
      this.facts.push(fact({ vm: this.vm, request: this.event.id }, { id: `${this.event.id}.done` }));
      return { done: true, state: this.record.state, ...answer };
    } catch (error) {
      if (!(error instanceof HypervisorError)) throw error;
      if (error.code !== 'refused') {
        await this.failedFor(error.message);
        throw error;
      }
      if (verb === 'create') await this.manager.hypervisor.removeDisks(this.vm);
      return this.failed(verb, { code: 'refused', message: error.message });
    }
  }

  failed(verb: Verb, reason: Reason): Outcome {
    this.change({ doing: null });
    this.fail(verb, this.event.id, reason);
    return { done: false, state: this.record.state, reason };
  }

  async write(change: Partial<MachineRecord>): Promise<void> {
    this.change({ ...change, changedMs: this.manager.clock.now() });
    await this.manager.records.write(this.record);
  }

  /** What is about to be done, written before it is. */
  begin(verb: Verb, run?: string): Promise<void> {
    const { context, event } = this;
    const facts = this.facts.map(kept);
    const doing = { request: event.id, position: context.position, verb, facts };
    return this.write({ doing: run === undefined ? doing : { ...doing, run } });
  }

  async failedFor(error: string): Promise<void> {
    const { doing } = this.record;
    if (doing) await this.write({ doing: { ...doing, error } });
  }

  async perform(verb: Verb): Promise<Done> {
    const { vm } = this;
    const { hypervisor } = this.manager;
    if (verb === 'start') return this.start();
    if (!this.isUnderWay) await this.begin(verb);
    switch (verb) {
      case 'create':
        return this.create();
      case 'stop':
        return this.stop();
      case 'pause':
        await hypervisor.pause(vm, this.run);
        return { fact: VmPaused };
      case 'resume':
        await hypervisor.resume(vm, this.run);
        return { fact: VmResumed };
      case 'reset':
        await hypervisor.reset(vm, this.run);
        return { fact: VmWasReset };
      case 'configure':
        return this.configure();
      case 'snapshot':
        return this.snapshot();
      case 'delete':
        await hypervisor.removeDisks(vm);
        return { change: absent(vm), fact: VmDeleted };
    }
  }

  /** The life at hand, in states that have one. */
  get run(): string {
    const { run, state } = this.record;
    if (run === null) throw new Error(`${this.vm} is ${state} and has no life`);
    return run;
  }

  async create(): Promise<Done> {
    if (!VmCreateRequested.is(this.event)) throw new Error(`${this.event.type} creates nothing`);
    const { config, image } = this.event.data;
    await this.manager.hypervisor.createDisks(this.vm, config, image);
    return { change: { ...absent(this.vm), config, state: 'stopped' }, fact: VmCreated };
  }

  async start(): Promise<Done> {
    const { hypervisor, rest } = this.manager;
    const { vm, event } = this;
    const { config } = this.record;
    const run = (this.isUnderWay ? this.record.doing?.run : undefined) ?? randomUUID();
    let power: Power = 'gone';
    if (this.isUnderWay) power = await hypervisor.look(vm, run);
    else await this.begin('start', run);
    if (power === 'broken' || power === 'paused') await hypervisor.kill(vm, run);
    if (power !== 'running') {
      const restMs = rest.remainingMs();
      // The breaker strategy will do this, in one line beside the handler.
      if (restMs > 0) {
        await this.failedFor(RESTING);
        this.context.retryLater(restMs, RESTING);
      }
      try {
        await hypervisor.start(vm, run, config);
        rest.succeeded();
      } catch (error) {
        rest.failed();
        throw error;
      }
    }
    const asked = event.id !== this.record.restart;
    return { change: { run, live: config, ...(asked ? { restarts: 0, restart: null } : {}) }, fact: VmStarted };
  }

  async stop(): Promise<Done> {
    if (!VmStopRequested.is(this.event)) throw new Error(`${this.event.type} stops nothing`);
    const { hypervisor } = this.manager;
    const { run, vm } = this;
    const byGuest = await this.shutDown(this.event.data.deadlineMs);
    if (!byGuest) await hypervisor.kill(vm, run);
    this.forgetRun();
    const by = byGuest ? 'guest' : 'force';
    return { fact: (base, attributes) => VmStopped({ ...base, by }, attributes), answer: { forced: !byGuest } };
  }

  /** Whether the guest has shut down within the deadline. */
  async shutDown(deadlineMs: number): Promise<boolean> {
    const { hypervisor, clock } = this.manager;
    const { signal } = this.context;
    const { run, vm } = this;
    const endsMs = clock.monotonic() + deadlineMs;
    try {
      // One that stands still could not hear the button.
      if (this.record.state === 'paused' && deadlineMs > 0) await hypervisor.resume(vm, run);
      for (;;) {
        const leftMs = endsMs - clock.monotonic();
        if (leftMs > 0) await hypervisor.pressPowerButton(vm, run);
        if (await hypervisor.ended(vm, run, Math.min(leftMs, PRESS_MS), signal)) return true;
        signal.throwIfAborted();
        if (leftMs <= PRESS_MS) return false;
      }
    } catch (error) {
      // It has no process, or one that does not answer; force settles both.
      if (error instanceof HypervisorError) return hypervisor.ended(vm, run, 0, signal);
      throw error;
    }
  }

  async configure(): Promise<Done> {
    if (!VmConfigureRequested.is(this.event)) throw new Error(`${this.event.type} configures nothing`);
    const { hypervisor } = this.manager;
    const { vm, record } = this;
    const { config: from, live } = record;
    // What a partial change leaves out is undefined to the compiler, and missing in fact.
    const to = { ...from, ...this.event.data.change } as MachineConfig;
    await hypervisor.changeDisks(vm, from, to, live);
    const asked = (Object.keys(this.event.data.change) as ConfigField[]).filter((field) =>
      changedFields(from, to)
        .concat(live ? changedFields(live, to) : [])
        .includes(field),
    );
    const taken = live ? await hypervisor.changeLive(vm, this.run, live, to) : (['onCrash'] as const);
    const now = asked.filter((field) => taken.includes(field));
    const configured = { now, atNextStart: asked.filter((field) => !taken.includes(field)) };
    const changed = Object.fromEntries(taken.map((field) => [field, to[field]]));
    return {
      change: { config: to, live: live && { ...live, ...changed } },
      fact: (base, attributes) => VmConfigured({ ...base, ...configured }, attributes),
      answer: { configured },
    };
  }

  async snapshot(): Promise<Done> {
    if (!VmSnapshotRequested.is(this.event)) throw new Error(`${this.event.type} keeps no snapshot`);
    const { snapshot } = this.event.data;
    const { snapshots, run } = this.record;
    if (snapshots.includes(snapshot)) throw new HypervisorError('refused', `there is a snapshot ${snapshot} already`);
    if (snapshots.length >= SNAPSHOTS_MAX)
      throw new HypervisorError('refused', `there are ${SNAPSHOTS_MAX} snapshots already`);
    await this.manager.hypervisor.snapshot(this.vm, run, snapshot);
    return {
      change: { snapshots: [...snapshots, snapshot] },
      fact: (base, attributes) => VmSnapshotTaken({ ...base, snapshot }, attributes),
    };
  }

  // Recording.

  /** Writes what the turn has changed, and publishes its facts in one commit with the acknowledgement. */
  async end(outcome: Outcome | null): Promise<Outcome | undefined> {
    if (outcome === null && this.facts.length === 0) return undefined;
    await this.write({ last: { event: this.event.id, facts: this.facts.map(kept), outcome } });
    for (const fact of this.facts) this.context.publish(fact);
    return outcome ?? undefined;
  }
}

/**
 * The id of the fact that tells how a request ended that was not carried out. There are two occasions to tell it, the next
 * turn of the machine and the news that the request is a dead letter; one id makes it one fact.
 */
export const givenUp = (request: string): string => `${request}.given-up`;

const kept = ({ id, type, data }: Event): FactRecord => ({ id, type, data });

const makers: ReadonlyMap<string, AnyEventDefinition> = new Map(
  [...factEvents, VmStartRequested].map((definition) => [definition.type, definition]),
);

/** Facts as they were before they were kept. */
export function remade(facts: readonly FactRecord[]): Event[] {
  return facts.map(({ id, type, data }) => {
    const make = makers.get(type) as ((data: unknown, attributes: { id: string }) => Event) | undefined;
    if (make === undefined) throw new Error(`${type} is no fact`);
    return make(data, { id });
  });
}

/** The verb of a request. */
export const verbOf = ({ type }: Event): Verb | undefined => verbByType.get(type);
