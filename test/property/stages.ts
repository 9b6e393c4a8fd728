import type { Bus } from '../../src/core/index.ts';
import type { Engine } from '../../src/engine/index.ts';
import type { MemoryLog } from '../../src/engines/memory/index.ts';
import type { FakeClock } from '../../src/testing/index.ts';
import { ProcessClock } from '../../src/testing/process-clock.ts';
import { SharedPlace, type SharedStore } from './shared-store.ts';
import { UnreliablePlace, type UnreliableStore } from './unreliable-store.ts';

/** One life of a process in a simulation. */
export interface Process {
  readonly no: number;
  readonly clock: ProcessClock;
  readonly engine: Engine;
  readonly store: UnreliableStore;
  bus: Bus | null;
  /** What it does from now on counts for nothing: it was killed, or the others took it for dead. */
  over: boolean;
  /** Since when it does not hang. */
  awakeSinceMs: number;
}

/** Where the processes of a simulation keep their log. */
export interface Stage {
  readonly log: MemoryLog;
  /** A process, its bus not started. */
  enter(no: number, clock: FakeClock): Process;
  kill(process: Process): void;
  idle(): Promise<void>;
}

/** One process at a time, which has the log for itself. */
export class AloneStage implements Stage {
  readonly place: UnreliablePlace;

  constructor(random: () => number) {
    this.place = new UnreliablePlace(random);
  }

  get log(): MemoryLog {
    return this.place.log;
  }

  enter(no: number, base: FakeClock): Process {
    const engine = this.place.open();
    const store = this.place.store as UnreliableStore;
    return { no, clock: new ProcessClock(base), engine, store, bus: null, over: false, awakeSinceMs: 0 };
  }

  kill(process: Process): void {
    process.clock.alive = false;
    process.over = true;
    this.place.crash();
  }

  idle(): Promise<void> {
    return this.place.idle();
  }
}

/** Several processes that share the log. */
export class SharedStage implements Stage {
  readonly place: SharedPlace;
  readonly processes: Process[] = [];

  /** @param buried told of a process that the others took for dead, though it may live */
  constructor(random: () => number, leaseMs: number, buried: (process: Process) => void) {
    this.place = new SharedPlace(random, leaseMs);
    this.place.onBuried = (member) => {
      const process = this.processes.find(({ store }) => (store as SharedStore).member === member);
      if (process) buried(process);
    };
    // Having been taken for dead, it counts again.
    this.place.onJoined = (store) => {
      const process = this.processes.find((one) => one.store === store);
      if (process?.clock.alive) process.over = false;
    };
  }

  get log(): MemoryLog {
    return this.place.log;
  }

  enter(no: number, base: FakeClock): Process {
    const clock = new ProcessClock(base);
    const { engine, store } = this.place.open(clock);
    const process: Process = { no, clock, engine, store, bus: null, over: false, awakeSinceMs: 0 };
    this.processes.push(process);
    return process;
  }

  kill(process: Process): void {
    process.clock.alive = false;
    process.over = true;
    process.store.dead = true;
    this.place.stores.delete(process.store as SharedStore);
  }

  idle(): Promise<void> {
    return this.place.idle();
  }
}
