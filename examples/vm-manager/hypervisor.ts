import type { ConfigField, MachineConfig } from './config.ts';
import type { ToldKind } from './events.ts';
import type { Power } from './machine-states.ts';
import type { Picture } from './picture.ts';

/** What a machine told. `run` is the id of the life it is about. */
export interface Told {
  readonly vm: string;
  readonly run: string;
  readonly kind: ToldKind;
  readonly detail?: string;
}

/**
 * What runs machines. Two implementations pass one suite of contract tests (hypervisor-contract.ts).
 *
 * A machine's life begins with `start`, which names it by a `run`, a UUID that no other life has. Machines outlive the
 * hypervisor object, and the process it is in: another one finds them again by name and run.
 *
 * Calls about one machine come one at a time; calls about several at once. What is said to be repeatable ends the same
 * when it is done again after a crash. Every call ends within a bounded time. What goes wrong is a `HypervisorError`.
 */
export interface Hypervisor {
  readonly name: 'qemu' | 'simulated';
  /** A line for people: which one, of which version, with what acceleration. Fails when it cannot work here. */
  describe(): Promise<string>;
  /** Makes the disks, the boot disk from an image of the folder of images, or with the project's own guest. Repeatable. */
  createDisks(vm: string, config: MachineConfig, image: string | undefined): Promise<void>;
  /** Removes all that is kept of a machine. Repeatable. */
  removeDisks(vm: string): Promise<void>;
  /** Starts the machine; resolves when its processors run. On failure there is no process. Not repeatable: `look` first. */
  start(vm: string, run: string, config: MachineConfig): Promise<void>;
  /**
   * Finds a machine that may be there, and listens to it from then on. `gone` is certain: no process of this run is left.
   * One that is there and does not answer is an error, `unresponsive`.
   */
  look(vm: string, run: string): Promise<Power>;
  /** These four are repeatable. */
  pause(vm: string, run: string): Promise<void>;
  resume(vm: string, run: string): Promise<void>;
  reset(vm: string, run: string): Promise<void>;
  pressPowerButton(vm: string, run: string): Promise<void>;
  /** Ends the process by force; resolves when it is gone. Repeatable. */
  kill(vm: string, run: string): Promise<void>;
  /** Whether the process has ended within the time. An abort ends the wait. */
  ended(vm: string, run: string, withinMs: number, signal: AbortSignal): Promise<boolean>;
  /** Changes a machine that has a process as far as that is possible while it runs; which fields it did. Repeatable. */
  changeLive(vm: string, run: string, from: MachineConfig, to: MachineConfig): Promise<readonly ConfigField[]>;
  /** Changes what is kept on the disk for the next start: makes disks that are new, removes those that went. Repeatable. */
  changeDisks(vm: string, from: MachineConfig, to: MachineConfig, live: MachineConfig | null): Promise<void>;
  /** Keeps the present state of the boot disk under a name. Repeatable. @param run null without a process */
  snapshot(vm: string, run: string | null, name: string): Promise<void>;
  /** The last of what the machine wrote to its serial port, since it was first read. */
  console(vm: string, run: string | null): Promise<string>;
  screenshot(vm: string, run: string): Promise<Picture>;
  /** Tells what machines tell that were started or looked at. One listener. */
  listen(listener: (told: Told) => void): void;
  /** Lets go of the machines, which go on. */
  close(): Promise<void>;
}
