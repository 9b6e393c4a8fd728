import type { Event, Module } from 'carillon';
import { type FakeClock, fakeClock, testBus, type TestBus } from 'carillon/testing';
import type { Hypervisor } from './hypervisor.ts';
import { inventory } from './inventory.ts';
import { machines } from './machines.ts';
import { type MachineRecord, type Records, recordsInMemory } from './records.ts';
import { SimulatedHost, type SimulatedHostOptions, simulatedHypervisor } from './simulated-hypervisor.ts';

/**
 * For tests: a manager of simulated machines that can be killed at any of the calls by which it touches the world, and
 * started again on what is left. Time passes only when the test lets it.
 */
export interface SimulatedManager {
  readonly host: SimulatedHost;
  /** Of the machines and of the manager's deadlines. The bus has its own, which `pass` moves along. */
  readonly clock: FakeClock;
  readonly records: Records;
  readonly test: TestBus;
  /** Whether the manager has died at a call, and waits to be started again. */
  readonly dead: boolean;
  /** The manager dies at the call after the next `calls` ones: before it has an effect, or after it. */
  dieAfter(calls: number, when: 'before' | 'after'): void;
  kill(): void;
  start(): Promise<void>;
  /** Lets time pass for both clocks, in small steps; a manager that dies on the way stays dead. */
  pass(ms: number): Promise<void>;
  /** Every event in the log. */
  log(): Promise<readonly Event[]>;
  stop(): Promise<void>;
}

export interface SimulatedManagerOptions extends Omit<SimulatedHostOptions, 'clock' | 'directory'> {
  readonly concurrency?: number;
}

/** Longer than any retry's delay, in steps short enough that a deadline of a second is not jumped over. */
const STEP_MS = 250;

const forever = new Promise<never>(() => undefined);

class Mortal {
  dead = false;
  fuse = Infinity;
  when: 'before' | 'after' = 'before';

  /** What hands calls on as long as the manager lives; afterwards nothing is done, and nothing comes back. */
  wrap<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (from, name) => {
        const value: unknown = Reflect.get(from, name, from);
        if (typeof value !== 'function' || !effects.has(name)) return value;
        return (...given: unknown[]): unknown => this.call(() => Reflect.apply(value, from, given) as unknown);
      },
    });
  }

  async call(act: () => unknown): Promise<unknown> {
    const last = this.fuse-- <= 0;
    if (last && this.when === 'before') this.dead = true;
    if (this.dead) return forever;
    const result = await act();
    if (last) this.dead = true;
    return this.dead ? forever : result;
  }
}

/** What touches the world. Reading a record is a look into the manager's own memory. */
const effects: ReadonlySet<string | symbol> = new Set<keyof Hypervisor | 'write'>([
  'createDisks',
  'removeDisks',
  'start',
  'look',
  'pause',
  'resume',
  'reset',
  'pressPowerButton',
  'kill',
  'ended',
  'changeLive',
  'changeDisks',
  'snapshot',
  'write',
]);

export async function simulatedManager({
  concurrency = 16,
  ...options
}: SimulatedManagerOptions = {}): Promise<SimulatedManager> {
  const clock = fakeClock();
  const host = new SimulatedHost({ ...options, clock });
  const kept = new Map<string, MachineRecord>();
  const records = recordsInMemory(kept);
  let mortal = new Mortal();
  let test: TestBus | undefined;

  const modules = (of: Mortal): Module[] => {
    const parts = { hypervisor: of.wrap(simulatedHypervisor(host)), records: of.wrap(records) };
    return [machines({ ...parts, concurrency, clock: clock }), inventory(parts)];
  };
  const start = async (): Promise<void> => {
    const left = test ? { memoryLog: test.crash(), startMs: test.clock.now() } : {};
    host.listeners.clear();
    mortal = new Mortal();
    test = await testBus({ ...left, modules: modules(mortal) });
  };
  await start();
  const current = (): TestBus => test as TestBus;

  return {
    host,
    clock,
    records,
    get test() {
      return current();
    },
    get dead() {
      return mortal.dead;
    },
    dieAfter: (calls, when) => {
      mortal.fuse = calls;
      mortal.when = when;
    },
    kill: () => {
      mortal.dead = true;
    },
    start,
    pass: async (ms) => {
      for (let passed = 0; passed < ms && !mortal.dead; passed += STEP_MS) {
        await current().advance(STEP_MS);
        await clock.advance(STEP_MS);
        await current().settle();
      }
    },
    log: () => current().published(),
    stop: async () => {
      if (mortal.dead) current().crash();
      else await current().stop();
      host.close();
    },
  };
}
