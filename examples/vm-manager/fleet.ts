import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { DefinedEvent, Event } from 'carillon';
import { GUEST_UP } from './boot-sector.ts';
import {
  type Outcome,
  VmConfigureRequested,
  VmCreateRequested,
  VmDeleteRequested,
  VmDescribeRequested,
  VmListRequested,
  VmPauseRequested,
  VmResetRequested,
  VmResumeRequested,
  VmScreenshotRequested,
  VmSnapshotRequested,
  VmStartRequested,
  VmStopRequested,
} from './events.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { Asked, Told } from './manager-process.ts';
import { simulatedFolder } from './open-manager.ts';
import { processesOf, signalKill } from './qemu-process.ts';
import { createTable, type Table } from './table.ts';

/**
 * A fleet of three machines, from their making to their end, run by a manager in a process of its own. On the way one
 * machine's process is killed, and the manager is, in the middle of two requests.
 *
 * Every step is checked against what it should have led to. At the end nothing may be left: no machine, no process, no disk.
 */

/** What the world outside the manager can do: see which machines live, and kill one. */
interface World {
  /** The lives that have a process, by machine; what is there twice is listed twice. */
  lives(): Promise<readonly string[]>;
  kill(vm: string): Promise<void>;
}

function qemuWorld(data: string): World {
  // A machine's process is known by the path of its socket, which no other fleet has.
  const found = async (): Promise<[vm: string, pid: number][]> => {
    const processes = await processesOf((words) =>
      words.some((word) => word.includes(`path=${join(data, 'sockets')}/`)),
    );
    return processes.map(({ pid, words }) => [words[words.indexOf('-name') + 1]?.replace('guest=', '') ?? '', pid]);
  };
  return {
    lives: async () => (await found()).map(([vm]) => vm).toSorted(),
    kill: async (vm) => {
      for (const [name, pid] of await found()) if (name === vm) signalKill(pid);
    },
  };
}

function simulatedWorld(data: string): World {
  const ending = '.machine.json';
  const folder = simulatedFolder(data);
  return {
    lives: () => {
      const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith(ending)) : [];
      return Promise.resolve(files.map((file) => file.slice(0, -ending.length)).toSorted());
    },
    kill: (vm) => Promise.resolve(rmSync(join(folder, vm + ending), { force: true })),
  };
}

const program = fileURLToPath(new URL('./manager-process.ts', import.meta.url));
const jiti = fileURLToPath(new URL('../../node_modules/jiti/lib/jiti-cli.mjs', import.meta.url));

/** How long one step may take: KVM inside another virtual machine boots in seconds, not milliseconds. */
const STEP_MS = 60_000;

/** The manager's process, as its parent sees it. */
class ManagerProcess {
  readonly child: ChildProcess;
  readonly ready: Promise<string>;
  readonly exited: Promise<unknown>;
  readonly waiting: Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }> = new Map();
  lastId = 0;

  constructor(
    data: string,
    hypervisor: Hypervisor['name'],
    accelerator: Accelerator,
    after: number,
    onEvent: (position: number, event: Event) => void,
  ) {
    const args = [
      jiti,
      program,
      '--data',
      data,
      '--hypervisor',
      hypervisor,
      '--accelerator',
      accelerator,
      '--after',
      String(after),
    ];
    this.child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.exited = new Promise((resolve) => this.child.once('exit', resolve));
    this.ready = new Promise((resolve, reject) => {
      this.child.on('message', (told: Told) => {
        if (told.kind === 'ready') resolve(told.hypervisor);
        else if (told.kind === 'event') onEvent(told.position, told.event);
        else this.answered(told);
      });
      void this.exited.then(() => {
        reject(new Error('the manager has ended'));
        for (const { reject: fail } of this.waiting.values()) fail(new Error('the manager has ended'));
      });
    });
  }

  answered({ id, value, error }: Extract<Told, { kind: 'answer' }>): void {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new Error(error));
  }

  ask({ type, data }: Event, how: Asked['how']): Promise<unknown> {
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.child.send({ id, how, type, data } satisfies Asked);
    });
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
  }

  /** Lets it stop by itself; whether it did, within the time of a step. */
  async stop(): Promise<boolean> {
    this.child.disconnect();
    const stopped = await Promise.race([this.exited.then(() => true), sleep(STEP_MS, false, { ref: false })]);
    return stopped && this.child.exitCode === 0;
  }
}

export interface FleetOptions {
  readonly hypervisor: Hypervisor['name'];
  readonly accelerator: Accelerator;
  readonly out: NodeJS.WriteStream;
}

type Accelerator = 'auto' | 'kvm' | 'tcg';

/** Runs it all. Resolves with what went wrong: nothing, when every end was the right one. */
export async function runFleet({ hypervisor, accelerator, out }: FleetOptions): Promise<readonly string[]> {
  const data = await mkdtemp(join(tmpdir(), 'carillon-vms-'));
  const world = hypervisor === 'qemu' ? qemuWorld(data) : simulatedWorld(data);
  const table = createTable(out);
  const fleet = new Fleet(data, hypervisor, accelerator, world, table);
  const interrupted = (): void => fleet.interrupt();
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    await fleet.run();
  } catch (error) {
    fleet.problems.push(error instanceof Error ? error.message : String(error));
  } finally {
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
    await fleet.leaveNothing();
    table.end();
    await rm(data, { recursive: true, force: true });
  }
  return fleet.problems;
}

const machines = ['cache-1', 'db-1', 'web-1'] as const;

class Fleet {
  readonly data: string;
  readonly hypervisor: Hypervisor['name'];
  readonly accelerator: Accelerator;
  readonly world: World;
  readonly table: Table;
  readonly problems: string[] = [];
  readonly events: Event[] = [];
  manager: ManagerProcess;
  position = 0;
  isInterrupted = false;

  constructor(data: string, hypervisor: Hypervisor['name'], accelerator: Accelerator, world: World, table: Table) {
    this.accelerator = accelerator;
    this.data = data;
    this.hypervisor = hypervisor;
    this.world = world;
    this.table = table;
    this.manager = this.startManager();
  }

  startManager(): ManagerProcess {
    return new ManagerProcess(this.data, this.hypervisor, this.accelerator, this.position, (position, event) => {
      this.position = position;
      this.events.push(event);
      this.show(event);
    });
  }

  interrupt(): void {
    this.isInterrupted = true;
    void this.manager.kill();
  }

  async run(): Promise<void> {
    this.table.say(`${await this.manager.ready}; a fleet of ${machines.length} in ${this.data}`);
    await this.createAndStart();
    await this.changeThem();
    await this.killOne();
    await this.killTheManager();
    await this.lookAtThem();
    await this.stopAndDelete();
  }

  async createAndStart(): Promise<void> {
    this.table.say('create and start');
    await Promise.all([
      this.done(VmCreateRequested({ vm: 'cache-1', config: { cpus: 2 } })),
      this.done(VmCreateRequested({ vm: 'db-1', config: { disks: [{ name: 'data', sizeMiB: 64 }] } })),
      this.done(VmCreateRequested({ vm: 'web-1', config: { onCrash: 'restart', network: 'user' } })),
    ]);
    await this.done(VmSnapshotRequested({ vm: 'web-1', snapshot: 'new' }));
    await Promise.all(machines.map((vm) => this.done(VmStartRequested({ vm }))));
    await this.living(machines);
    this.table.say('until the guests are up');
    await Promise.all(machines.map((vm) => this.until(`${vm} is up`, async () => this.isUp(vm))));
    this.check(
      'starting a running machine is refused',
      (await this.ask(VmStartRequested({ vm: 'db-1' }))).reason?.code,
      'illegal',
    );
  }

  async changeThem(): Promise<void> {
    this.table.say('configure, pause, resume, snapshot, reset');
    const web = await this.ask(VmConfigureRequested({ vm: 'web-1', change: { cpus: 2, memoryMiB: 128 } }));
    this.check('more is given at once', web.configured, { now: ['memoryMiB', 'cpus'], atNextStart: [] });
    const cache = await this.ask(VmConfigureRequested({ vm: 'cache-1', change: { cpus: 1 } }));
    this.check('less is given at the next start', cache.configured, { now: [], atNextStart: ['cpus'] });
    const disks = [
      { name: 'data', sizeMiB: 64 },
      { name: 'more', sizeMiB: 32 },
    ];
    const db = await this.ask(VmConfigureRequested({ vm: 'db-1', change: { disks } }));
    this.check('a disk is given at once', db.configured, { now: ['disks'], atNextStart: [] });
    await this.done(VmPauseRequested({ vm: 'db-1' }), 'paused');
    await this.done(VmResumeRequested({ vm: 'db-1' }));
    await this.done(VmSnapshotRequested({ vm: 'db-1', snapshot: 'while-running' }));
    await this.done(VmResetRequested({ vm: 'cache-1' }));
  }

  async killOne(): Promise<void> {
    const before = await this.runOf('web-1');
    this.table.say('kill -9: the process of web-1, which is to be restarted when it crashes');
    await this.world.kill('web-1');
    await this.seen('vm.crashed', 'web-1');
    await this.until('web-1 runs again', async () => {
      const run = await this.runOf('web-1');
      return run !== null && run !== before;
    });
    await this.living(machines);
  }

  async killTheManager(): Promise<void> {
    const before = [await this.runOf('cache-1'), await this.runOf('web-1')];
    const stop = VmStopRequested({ vm: 'db-1', deadlineMs: 30_000 });
    const snapshot = VmSnapshotRequested({ vm: 'web-1', snapshot: 'over-a-crash' });
    await Promise.all([this.manager.ask(stop, 'publish'), this.manager.ask(snapshot, 'publish')]);
    this.table.say('kill -9: the manager, with a stop and a snapshot under way');
    await this.manager.kill();
    const survivors = (await this.world.lives()).filter((vm) => vm !== 'db-1');
    this.check('machines outlive the manager', survivors, ['cache-1', 'web-1']);
    this.manager = this.startManager();
    await this.manager.ready;
    this.table.say('the manager is back');
    await this.seen('vm.stopped', 'db-1');
    await this.until('the snapshot is kept', async () =>
      (await this.describe('web-1'))?.snapshots.includes('over-a-crash'),
    );
    this.check('the same lives go on', [await this.runOf('cache-1'), await this.runOf('web-1')], before);
    await this.living(['cache-1', 'web-1']);
  }

  async lookAtThem(): Promise<void> {
    const screenshot = (await this.manager.ask(VmScreenshotRequested({ vm: 'web-1' }), 'request')) as {
      width: number;
    } | null;
    this.check('there is a screenshot', (screenshot?.width ?? 0) > 0, true);
  }

  async stopAndDelete(): Promise<void> {
    this.table.say('stop and delete');
    const [web, cache] = await Promise.all([
      this.ask(VmStopRequested({ vm: 'web-1', deadlineMs: 30_000 })),
      this.ask(VmStopRequested({ vm: 'cache-1', deadlineMs: 0 })),
    ]);
    this.check('web-1 is stopped by its guest', [web.state, web.forced], ['stopped', false]);
    this.check('cache-1 is stopped by force', [cache.state, cache.forced], ['stopped', true]);
    await this.living([]);
    await Promise.all(machines.map((vm) => this.done(VmDeleteRequested({ vm }), 'absent')));
    this.check('no machine is listed', await this.manager.ask(VmListRequested({}), 'request'), []);
    this.checkFacts();
    this.check('the manager stops by itself', await this.manager.stop(), true);
  }

  /** Every request has come to one fact, and no more. */
  checkFacts(): void {
    const requests = this.events.filter(
      ({ type }) => /^vm\.\w+\.requested$/.test(type) && !/list|describe|screenshot|reconcile/.test(type),
    );
    const told = new Map<unknown, number>();
    for (const { data } of this.events) {
      const { request } = (data ?? {}) as { request?: unknown };
      if (request !== undefined) told.set(request, (told.get(request) ?? 0) + 1);
    }
    this.check(
      'each request has one fact',
      requests.filter(({ id }) => told.get(id) !== 1).map(({ type }) => type),
      [],
    );
  }

  /** Whatever happened, no process is left. That there was one is a problem, unless the user has ended the run. */
  async leaveNothing(): Promise<void> {
    await this.manager.kill();
    const left = await this.world.lives();
    if (left.length > 0 && !this.isInterrupted) this.problems.push(`machines were left behind: ${left.join(', ')}`);
    for (const vm of left) await this.world.kill(vm);
    await this.until('no process is left', async () => (await this.world.lives()).length === 0);
  }

  // Asking and checking.

  async ask(event: DefinedEvent<unknown, string, Outcome>): Promise<Outcome> {
    return (await this.manager.ask(event, 'request')) as Outcome;
  }

  async done(event: DefinedEvent<{ vm: string }, string, Outcome>, state?: string): Promise<void> {
    const outcome = await this.ask(event);
    const told = `${event.type} of ${event.data.vm} is done`;
    this.check(outcome.done ? told : `${told}: ${outcome.reason?.message}`, outcome.done, true);
    if (state !== undefined) this.check(`${event.data.vm} is ${state}`, outcome.state, state);
  }

  async describe(vm: string): Promise<{
    run: string | null;
    console: string;
    snapshots: string[];
    cpus: number;
    memoryMiB: number;
    state: string;
  } | null> {
    return (await this.manager.ask(VmDescribeRequested({ vm }), 'request')) as Awaited<ReturnType<Fleet['describe']>>;
  }

  async isUp(vm: string): Promise<boolean> {
    return (await this.describe(vm))?.console.includes(GUEST_UP) ?? false;
  }

  async runOf(vm: string): Promise<string | null> {
    return (await this.describe(vm))?.run ?? null;
  }

  async living(expected: readonly string[]): Promise<void> {
    this.check('one process for each machine that runs', await this.world.lives(), [...expected].toSorted());
  }

  seen(type: string, vm: string): Promise<void> {
    return this.until(`${type} of ${vm}`, () =>
      Promise.resolve(this.events.some((one) => one.type === type && one.subject === vm)),
    );
  }

  async until(what: string, holds: () => Promise<unknown>): Promise<void> {
    const endsMs = performance.now() + STEP_MS;
    while (!(await holds())) {
      if (performance.now() > endsMs) throw new Error(`not within ${STEP_MS / 1000} s: ${what}`);
      await sleep(50);
    }
  }

  check(what: string, found: unknown, expected: unknown): void {
    if (JSON.stringify(found) === JSON.stringify(expected)) return;
    this.problems.push(`${what}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`);
  }

  show({ type, subject, data }: Event): void {
    const vm = subject;
    if (vm === undefined || type.startsWith('vm.guest.') || type === 'vm.reconcile.requested') return;
    const { state, by, reason, now, atNextStart } = data as {
      state?: string;
      by?: string;
      reason?: { code: string };
      now?: string[];
      atNextStart?: string[];
    };
    const row = this.rows.get(vm) ?? { state: 'absent', cpus: '', memory: '' };
    const after = stateTold[type] ?? row.state;
    const asked =
      type === 'vm.create.requested' ? (data as { config: { cpus: number; memoryMiB: number } }).config : undefined;
    if (asked) Object.assign(row, { cpus: String(asked.cpus), memory: `${asked.memoryMiB} MiB` });
    const change = (data as { change?: { cpus?: number; memoryMiB?: number } }).change;
    if (change) this.changes.set(vm, change);
    if (type === 'vm.configured') {
      const { cpus, memoryMiB } = this.changes.get(vm) ?? {};
      if (cpus !== undefined && now?.includes('cpus')) row.cpus = String(cpus);
      if (memoryMiB !== undefined && now?.includes('memoryMiB')) row.memory = `${memoryMiB} MiB`;
    }
    const details = [
      by && `by ${by}`,
      reason && `${reason.code} while ${state}`,
      now?.length && `now: ${now.join(', ')}`,
      atNextStart?.length && `at next start: ${atNextStart.join(', ')}`,
    ].filter(Boolean);
    this.rows.set(vm, { ...row, state: after });
    this.table.row({ ...row, vm, state: after, last: [type, ...details].join(' ') });
  }

  readonly rows: Map<string, { state: string; cpus: string; memory: string }> = new Map();
  readonly changes: Map<string, { cpus?: number; memoryMiB?: number }> = new Map();
}

const stateTold: Readonly<Record<string, string>> = {
  'vm.created': 'stopped',
  'vm.started': 'running',
  'vm.resumed': 'running',
  'vm.reset': 'running',
  'vm.paused': 'paused',
  'vm.stopped': 'stopped',
  'vm.crashed': 'crashed',
  'vm.deleted': 'absent',
};
