import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from 'carillon';
import { GUEST_DOWN, GUEST_UP } from './boot-sector.ts';
import { changedFields, type ConfigField, type MachineConfig } from './config.ts';
import type { Hypervisor, Told } from './hypervisor.ts';
import { HypervisorError } from './hypervisor-error.ts';
import type { Power } from './machine-states.ts';
import { type Picture, pictureOf } from './picture.ts';

/**
 * Machines that only seem to be. For tests, and for computers without QEMU.
 *
 * Two parts, as in the real thing. The *host* is the world: what runs in it, and what becomes of it. The *hypervisor* is
 * the manager's side. A manager that dies takes its hypervisor with it and leaves the host alone.
 *
 * In one process the host is an object that several managers use in turn. With a directory it outlives the process: a
 * running machine is then a file, `<vm>.machine.json`, and nothing that consumes time or memory between two commands
 * (a small process for each would make a thousand of them impossible). The machine lives as long as its file; who removes
 * the file has killed it, and a manager that is running notices within 50 ms. What a guest was about to do when the
 * manager died (shut down) has its moment written down, and has happened when that is past.
 *
 * A guest does what the project's own boot sector does: tells that it is up, and shuts down some time after the power
 * button was pressed.
 */
export interface SimulatedHostOptions {
  /** Where the machines stand. Default: in memory. */
  readonly directory?: string;
  readonly clock?: Clock;
  /** From the power button to the end of the process, in ms. Default 5. */
  readonly shutdownMs?: number;
  /** Guests that do not hear the power button. Default: none. */
  readonly deaf?: (vm: string) => boolean;
}

interface Running {
  readonly run: string;
  readonly power: Exclude<Power, 'gone'>;
  readonly config: MachineConfig;
  readonly console: string;
  /** When its guest will have shut down, ms since the Unix epoch. */
  readonly offMs: number | null;
}

interface Disks {
  readonly disks: MachineConfig['disks'];
  readonly snapshots: readonly string[];
}

const SHUTDOWN_MS = 5;
const POLL_MS = 50;
const CONSOLE_CHARACTERS_MAX = 65_536;
const MACHINE = '.machine.json';
const DISKS = '.disks.json';

export class SimulatedHost {
  readonly clock: Clock;
  readonly shutdownMs: number;
  readonly deaf: (vm: string) => boolean;
  readonly directory: string | undefined;
  readonly running: Map<string, Running> = new Map();
  readonly disks: Map<string, Disks> = new Map();
  readonly listeners: Set<(told: Told) => void> = new Set();
  readonly poll: NodeJS.Timeout | undefined;
  /** Machines whose process does not answer. */
  readonly mute: Set<string> = new Set();
  /** The next so many starts fail as if the host had no memory left. */
  failingStarts = 0;
  /** Starts of a machine that had a process already: what must never happen. */
  doubled = 0;

  constructor({
    directory,
    clock = systemClock,
    shutdownMs = SHUTDOWN_MS,
    deaf = () => false,
  }: SimulatedHostOptions = {}) {
    this.clock = clock;
    this.shutdownMs = shutdownMs;
    this.deaf = deaf;
    this.directory = directory;
    if (directory === undefined) return;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const file of readdirSync(directory)) this.load(directory, file);
    this.poll = setInterval(() => this.lookForKilled(directory), POLL_MS).unref();
  }

  load(directory: string, file: string): void {
    const read = (): unknown => JSON.parse(readFileSync(join(directory, file), 'utf8'));
    if (file.endsWith(DISKS)) this.disks.set(file.slice(0, -DISKS.length), read() as Disks);
    if (!file.endsWith(MACHINE)) return;
    const vm = file.slice(0, -MACHINE.length);
    const machine = read() as Running;
    this.running.set(vm, machine);
    if (machine.offMs !== null) this.shutDownAt(vm, machine.run, machine.offMs);
  }

  /** A file that is gone was a machine that is killed. */
  lookForKilled(directory: string): void {
    const files = new Set(readdirSync(directory));
    for (const [vm, { run }] of this.running) if (!files.has(vm + MACHINE)) this.end(vm, run);
  }

  /** Nothing listens any more, as when the computer is switched off. */
  close(): void {
    clearInterval(this.poll);
    this.listeners.clear();
  }

  get(vm: string, run: string): Running | undefined {
    const machine = this.running.get(vm);
    return machine?.run === run ? machine : undefined;
  }

  set(vm: string, machine: Running): void {
    this.running.set(vm, machine);
    this.keep(vm + MACHINE, machine);
  }

  setDisks(vm: string, disks: Disks | null): void {
    if (disks) this.disks.set(vm, disks);
    else this.disks.delete(vm);
    this.keep(vm + DISKS, disks);
  }

  keep(file: string, value: object | null): void {
    if (this.directory === undefined) return;
    const path = join(this.directory, file);
    if (value === null) return rmSync(path, { force: true });
    writeFileSync(`${path}.next`, JSON.stringify(value), { mode: 0o600 });
    renameSync(`${path}.next`, path);
  }

  tell(told: Told): void {
    for (const listener of this.listeners) listener(told);
  }

  end(vm: string, run: string): void {
    if (!this.get(vm, run)) return;
    this.running.delete(vm);
    this.mute.delete(vm);
    this.keep(vm + MACHINE, null);
    this.tell({ vm, run, kind: 'ended' });
  }

  shutDownAt(vm: string, run: string, offMs: number): void {
    this.clock.setTimer(offMs - this.clock.now(), () => {
      const machine = this.get(vm, run);
      // One that stands still does not shut down: the button is remembered until it goes on. A reset forgets it.
      if (machine?.power === 'running' && machine.offMs === offMs) this.shutDown(vm);
    });
  }

  // What happens to machines by themselves.

  /** The process dies. */
  kill(vm: string): void {
    const machine = this.running.get(vm);
    if (machine) this.end(vm, machine.run);
  }

  /** The guest shuts itself down. */
  shutDown(vm: string): void {
    const machine = this.running.get(vm);
    if (!machine) return;
    this.tell({ vm, run: machine.run, kind: 'shutdown', detail: 'guest-shutdown' });
    this.end(vm, machine.run);
  }

  /** The process stands still, and answers nobody. */
  fallSilent(vm: string): void {
    if (this.running.has(vm)) this.mute.add(vm);
  }

  resetItself(vm: string): void {
    const machine = this.running.get(vm);
    if (machine) this.tell({ vm, run: machine.run, kind: 'reset', detail: 'guest-reset' });
  }

  /** A disk is full: the machine stops until somebody lets it go on. */
  pauseItself(vm: string): void {
    const machine = this.running.get(vm);
    if (machine?.power !== 'running') return;
    this.set(vm, { ...machine, power: 'paused' });
    this.tell({ vm, run: machine.run, kind: 'io-error', detail: 'stop' });
    this.tell({ vm, run: machine.run, kind: 'paused' });
  }

  panic(vm: string): void {
    const machine = this.running.get(vm);
    if (!machine) return;
    this.set(vm, { ...machine, power: 'broken' });
    this.tell({ vm, run: machine.run, kind: 'panicked' });
  }
}

/** The manager's side of a host. */
export function simulatedHypervisor(host: SimulatedHost): Hypervisor {
  return new SimulatedHypervisor(host);
}

class SimulatedHypervisor implements Hypervisor {
  readonly name = 'simulated';
  readonly host: SimulatedHost;
  /** The lives that are listened to, by machine. */
  readonly known: Map<string, string> = new Map();
  listener: (told: Told) => void = () => undefined;
  readonly hear = (told: Told): void => {
    if (this.known.get(told.vm) === told.run) this.listener(told);
  };

  constructor(host: SimulatedHost) {
    this.host = host;
    host.listeners.add(this.hear);
  }

  describe(): Promise<string> {
    return Promise.resolve('the simulated hypervisor');
  }

  listen(listener: (told: Told) => void): void {
    this.listener = listener;
  }

  createDisks(vm: string, config: MachineConfig, image: string | undefined): Promise<void> {
    if (image !== undefined) return refused(`the image ${image} is not there: a simulated machine has none`);
    this.host.setDisks(vm, { disks: config.disks, snapshots: [] });
    return Promise.resolve();
  }

  removeDisks(vm: string): Promise<void> {
    this.host.setDisks(vm, null);
    return Promise.resolve();
  }

  changeDisks(vm: string, from: MachineConfig, to: MachineConfig, live: MachineConfig | null): Promise<void> {
    for (const { name, sizeMiB } of to.disks) {
      const before = [...from.disks, ...(live?.disks ?? [])].find((disk) => disk.name === name);
      if (before !== undefined && before.sizeMiB !== sizeMiB) {
        return refused(`the disk ${name} has ${before.sizeMiB} MiB; its size cannot be changed`);
      }
    }
    const kept = this.host.disks.get(vm);
    if (!kept) return refused(`${vm} has no disks`);
    this.host.setDisks(vm, { ...kept, disks: to.disks });
    return Promise.resolve();
  }

  snapshot(vm: string, _run: string | null, name: string): Promise<void> {
    const kept = this.host.disks.get(vm);
    if (!kept) return refused(`${vm} has no disks`);
    if (!kept.snapshots.includes(name)) this.host.setDisks(vm, { ...kept, snapshots: [...kept.snapshots, name] });
    return Promise.resolve();
  }

  start(vm: string, run: string, config: MachineConfig): Promise<void> {
    const { host } = this;
    if (host.running.has(vm)) {
      host.doubled++;
      return failed(`${vm} has a process already`);
    }
    if (!host.disks.has(vm)) return failed(`${vm} has no disks`);
    if (host.failingStarts > 0) {
      host.failingStarts--;
      return failed('the host has no memory left');
    }
    this.known.set(vm, run);
    host.set(vm, { run, power: 'running', config, console: `${GUEST_UP}\r\n`, offMs: null });
    return Promise.resolve();
  }

  look(vm: string, run: string): Promise<Power> {
    this.known.set(vm, run);
    const machine = this.host.get(vm, run);
    if (machine && this.host.mute.has(vm)) return silent(vm);
    return Promise.resolve(machine?.power ?? 'gone');
  }

  pause(vm: string, run: string): Promise<void> {
    return this.withMachine(vm, run, (machine) => {
      if (machine.power !== 'running') return;
      this.host.set(vm, { ...machine, power: 'paused' });
      this.host.tell({ vm, run, kind: 'paused' });
    });
  }

  resume(vm: string, run: string): Promise<void> {
    return this.withMachine(vm, run, (machine) => {
      if (machine.power !== 'paused') return;
      this.host.set(vm, { ...machine, power: 'running' });
      this.host.tell({ vm, run, kind: 'resumed' });
      if (machine.offMs !== null) this.host.shutDownAt(vm, run, machine.offMs);
    });
  }

  reset(vm: string, run: string): Promise<void> {
    return this.withMachine(vm, run, (machine) => {
      this.host.set(vm, { ...machine, console: printed(machine, GUEST_UP), offMs: null });
      this.host.tell({ vm, run, kind: 'reset', detail: 'host-qmp-system-reset' });
    });
  }

  pressPowerButton(vm: string, run: string): Promise<void> {
    const { host } = this;
    return this.withMachine(vm, run, (machine) => {
      host.tell({ vm, run, kind: 'powerdown' });
      if (host.deaf(vm) || machine.offMs !== null) return;
      const offMs = host.clock.now() + host.shutdownMs;
      host.set(vm, { ...machine, offMs, console: printed(machine, GUEST_DOWN) });
      host.shutDownAt(vm, run, offMs);
    });
  }

  kill(vm: string, run: string): Promise<void> {
    this.host.end(vm, run);
    return Promise.resolve();
  }

  ended(vm: string, run: string, withinMs: number, signal: AbortSignal): Promise<boolean> {
    const { host } = this;
    const isGone = (): boolean => host.get(vm, run) === undefined;
    if (isGone() || withinMs <= 0 || signal.aborted) return Promise.resolve(isGone());
    return new Promise((resolve) => {
      const hear = (told: Told): void => {
        if (told.kind === 'ended' && told.vm === vm && told.run === run) done();
      };
      const done = (): void => {
        timer.cancel();
        host.listeners.delete(hear);
        signal.removeEventListener('abort', done);
        resolve(isGone());
      };
      const timer = host.clock.setTimer(withinMs, done);
      host.listeners.add(hear);
      signal.addEventListener('abort', done, { once: true });
    });
  }

  changeLive(vm: string, run: string, from: MachineConfig, to: MachineConfig): Promise<readonly ConfigField[]> {
    const done = changedFields(from, to).filter((field) => canChangeLive[field](from, to));
    const taken = Object.fromEntries(done.map((field) => [field, to[field]]));
    return this.withMachine(vm, run, (machine) => {
      this.host.set(vm, { ...machine, config: { ...machine.config, ...taken } });
      return done;
    });
  }

  console(vm: string, run: string | null): Promise<string> {
    return Promise.resolve((run !== null && this.host.get(vm, run)?.console) || '');
  }

  screenshot(vm: string, run: string): Promise<Picture> {
    // A black screen, in the size of a text console.
    return this.withMachine(vm, run, () =>
      pictureOf(Buffer.concat([Buffer.from('P6\n720 400\n255\n', 'latin1'), Buffer.alloc(720 * 400 * 3)])),
    );
  }

  withMachine<Result>(vm: string, run: string, act: (machine: Running) => Result): Promise<Result> {
    const machine = this.host.get(vm, run);
    if (machine && this.host.mute.has(vm)) return silent(vm);
    return machine ? Promise.resolve(act(machine)) : failed(`${vm} has no process to talk to`);
  }

  close(): Promise<void> {
    this.host.listeners.delete(this.hear);
    return Promise.resolve();
  }
}

const printed = ({ console }: Running, line: string): string => `${console}${line}\r\n`.slice(-CONSOLE_CHARACTERS_MAX);

const refused = (message: string): Promise<never> => Promise.reject(new HypervisorError('refused', message));
const silent = (vm: string): Promise<never> =>
  Promise.reject(new HypervisorError('unresponsive', `${vm} has a process that does not answer`));
const failed = (message: string): Promise<never> => Promise.reject(new HypervisorError('host', message));

/** As QEMU does with a guest that knows nothing of hot-plug: things are added, never taken away. */
const canChangeLive: Readonly<Record<ConfigField, (from: MachineConfig, to: MachineConfig) => boolean>> = {
  memoryMiB: (from, to) => to.memoryMiB > from.memoryMiB,
  cpus: (from, to) => to.cpus > from.cpus,
  disks: (from, to) => from.disks.every(({ name }) => to.disks.some((disk) => disk.name === name)),
  network: (_from, to) => to.network === 'user',
  onCrash: () => true,
};
