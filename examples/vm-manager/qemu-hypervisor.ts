import { existsSync, mkdirSync } from 'node:fs';
import {
  access,
  appendFile,
  constants,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bootSector } from './boot-sector.ts';
import { changedFields, type ConfigField, type MachineConfig } from './config.ts';
import type { Hypervisor, Told } from './hypervisor.ts';
import { HypervisorError } from './hypervisor-error.ts';
import type { Power } from './machine-states.ts';
import { type Picture, pictureOf, PPM_BYTES_MAX } from './picture.ts';
import {
  blockNode,
  diskOf,
  folderOf,
  nodeOf,
  type Places,
  placesIn,
  qemuArguments,
  SERIAL_BYTES,
  socketOf,
} from './qemu-arguments.ts';
import { firstLine, processOf, qemuImg, signalKill, startDetached } from './qemu-process.ts';
import { asObject, asObjects, connectQmp, type Qmp, type QmpEvent } from './qmp.ts';

/**
 * Machines as processes of QEMU, each controlled over a socket of its own.
 *
 * A machine seen from here is `unattached` (nothing is known but its name and run) → `attached` (there is a connection to
 * its socket, and the process behind it has told the run's id) → `unattached` again when the connection ends. A
 * connection that ends is looked into: no process means `ended`; a process means that the next `look` attaches again.
 *
 * `gone` is said only when the socket takes no connection and no process was started with the run's id. Between the two
 * (a QEMU that has not made its socket yet, or has just closed it) it waits.
 */
export interface QemuOptions {
  /** Where disks, images and sockets stand. */
  readonly data: string;
  /** Default `auto`: KVM where `/dev/kvm` can be used, else TCG, QEMU's own translation of machine code. */
  readonly accelerator?: 'auto' | 'kvm' | 'tcg';
}

const PROGRAM = 'qemu-system-x86_64';
const START_MS = 20_000;
/** From a process that is there to a socket that answers, and from a closed socket to a process that is gone. */
const BETWEEN_MS = 5_000;
const POLL_MS = 20;
const CONSOLE_BYTES_MAX = 65_536;

interface Attached {
  readonly run: string;
  readonly qmp: Qmp;
}

/** Whether this machine has what the QEMU hypervisor needs, and if not, what is missing. */
export async function missingForQemu(): Promise<readonly string[]> {
  const programs = [PROGRAM, 'qemu-img'];
  const lines = await Promise.all(programs.map((program) => firstLine(program, ['--version'])));
  return programs.filter((_program, index) => lines[index] === undefined);
}

export function qemuHypervisor(options: QemuOptions): Hypervisor {
  return new QemuHypervisor(placesIn(resolve(options.data)), options.accelerator ?? 'auto');
}

class QemuHypervisor implements Hypervisor {
  readonly name = 'qemu';
  readonly places: Places;
  readonly wanted: 'auto' | 'kvm' | 'tcg';
  readonly attached: Map<string, Attached> = new Map();
  /** Connections being made: two at once would fight for the one connection that QEMU takes. */
  readonly attaching: Map<string, Promise<Attached | undefined>> = new Map();
  listener: (told: Told) => void = () => undefined;
  closed = false;

  constructor(places: Places, wanted: 'auto' | 'kvm' | 'tcg') {
    this.places = places;
    this.wanted = wanted;
    for (const folder of [places.data, places.images, places.machines, places.sockets]) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    }
  }

  async describe(): Promise<string> {
    const version = await firstLine(PROGRAM, ['--version']);
    if (version === undefined) throw new HypervisorError('host', `${PROGRAM} cannot be run`);
    return `${version.replace(/ \(.*/, '')}, ${(await this.accelerator()).toUpperCase()}`;
  }

  async accelerator(): Promise<'kvm' | 'tcg'> {
    if (this.wanted !== 'auto') return this.wanted;
    const usable = access('/dev/kvm', constants.R_OK | constants.W_OK);
    return usable.then(
      () => 'kvm' as const,
      () => 'tcg' as const,
    );
  }

  listen(listener: (told: Told) => void): void {
    this.listener = listener;
  }

  // Disks.

  createDisks(vm: string, config: MachineConfig, image: string | undefined): Promise<void> {
    return orHost(async () => {
      const folder = folderOf(this.places, vm);
      await rm(folder, { recursive: true, force: true });
      await mkdir(folder, { mode: 0o700 });
      await this.createBootDisk(vm, image);
      for (const { name, sizeMiB } of config.disks) await this.createDisk(vm, name, sizeMiB);
    });
  }

  async createBootDisk(vm: string, image: string | undefined): Promise<void> {
    const disk = diskOf(this.places, vm, 'boot');
    if (image === undefined) {
      const sector = join(folderOf(this.places, vm), 'sector.raw');
      await writeFile(sector, bootSector(), { mode: 0o600 });
      await qemuImg(['convert', '-f', 'raw', '-O', 'qcow2', sector, disk], false);
      return unlink(sector);
    }
    const { path, format } = await this.checkedImage(image);
    // A copy: what a machine writes never reaches the image.
    await qemuImg(['convert', '-f', format, '-O', 'qcow2', path, disk], true);
  }

  /** An image of the folder of images, which is a plain file, complete in itself. */
  async checkedImage(image: string): Promise<{ path: string; format: string }> {
    const refuse = (why: string): never => {
      throw new HypervisorError('refused', `the image ${image} ${why}`);
    };
    const given = join(this.places.images, image);
    if (!existsSync(given)) refuse('is not there');
    const [path, images] = await Promise.all([realpath(given), realpath(this.places.images)]);
    if (!path.startsWith(images + sep)) refuse('leads out of the folder of images');
    if (!(await stat(path)).isFile()) refuse('is no file');
    const format = image.endsWith('.qcow2') ? 'qcow2' : 'raw';
    const told: unknown = JSON.parse(await qemuImg(['info', '--output=json', '-f', format, path], true));
    const info = asObject(told) ?? {};
    if ('backing-filename' in info || 'full-backing-filename' in info) refuse('has a backing file');
    const specific = asObject(asObject(info['format-specific'])?.['data']) ?? {};
    if ('data-file' in specific) refuse('has a data file of its own');
    return { path, format };
  }

  async createDisk(vm: string, name: string, sizeMiB: number): Promise<void> {
    const disk = diskOf(this.places, vm, name);
    if (existsSync(disk)) return;
    // Made under another name, so that a crash leaves no half disk behind that looks whole.
    await qemuImg(['create', '-q', '-f', 'qcow2', `${disk}.next`, `${sizeMiB}M`], false);
    await rename(`${disk}.next`, disk);
  }

  /** The disks of a configuration and no others: one that was taken away while in use is removed now. */
  async keepOnly(vm: string, config: MachineConfig): Promise<void> {
    const kept = new Set(config.disks.map(({ name }) => diskOf(this.places, vm, name)));
    for (const file of await readdir(folderOf(this.places, vm))) {
      const path = join(folderOf(this.places, vm), file);
      if (file.startsWith('disk-') && !kept.has(path)) await rm(path);
    }
    for (const { name, sizeMiB } of config.disks) await this.createDisk(vm, name, sizeMiB);
  }

  removeDisks(vm: string): Promise<void> {
    return orHost(async () => {
      await rm(folderOf(this.places, vm), { recursive: true, force: true });
      await rm(socketOf(this.places, vm), { force: true });
    });
  }

  changeDisks(vm: string, from: MachineConfig, to: MachineConfig, live: MachineConfig | null): Promise<void> {
    return orHost(async () => {
      for (const { name, sizeMiB } of to.disks) {
        const before = [...from.disks, ...(live?.disks ?? [])].find((disk) => disk.name === name);
        if (before !== undefined && before.sizeMiB !== sizeMiB) {
          throw new HypervisorError(
            'refused',
            `the disk ${name} has ${before.sizeMiB} MiB; its size cannot be changed`,
          );
        }
        await this.createDisk(vm, name, sizeMiB);
      }
      const kept = new Set([...to.disks, ...(live?.disks ?? [])].map(({ name }) => name));
      for (const { name } of from.disks) if (!kept.has(name)) await rm(diskOf(this.places, vm, name), { force: true });
    });
  }

  snapshot(vm: string, run: string | null, name: string): Promise<void> {
    return orHost(async () => {
      if (run === null) {
        const disk = diskOf(this.places, vm, 'boot');
        const listed: unknown = JSON.parse(await qemuImg(['info', '--output=json', '-f', 'qcow2', disk], false));
        if (asObjects(asObject(listed)?.['snapshots']).some((one) => one['name'] === name)) return;
        await qemuImg(['snapshot', '-q', '-c', name, disk], false);
        return;
      }
      const nodes = asObjects(await this.execute(vm, run, 'query-named-block-nodes', {}));
      const image = asObject(nodes.find((node) => node['node-name'] === nodeOf('boot'))?.['image']);
      if (asObjects(image?.['snapshots']).some((one) => one['name'] === name)) return;
      await this.execute(vm, run, 'blockdev-snapshot-internal-sync', { device: nodeOf('boot'), name });
    });
  }

  // Life.

  start(vm: string, run: string, config: MachineConfig): Promise<void> {
    return orHost(async () => {
      await this.keepOnly(vm, config);
      // What a killed QEMU left; nobody listens at it, or `look` would have found a machine.
      await rm(socketOf(this.places, vm), { force: true });
      const args = qemuArguments(this.places, { vm, run, config, accelerator: await this.accelerator() });
      const child = startDetached(PROGRAM, args);
      const controller = new AbortController();
      try {
        await Promise.race([child.failed, this.whenAnswering(vm, run, controller.signal)]);
      } catch (error) {
        await this.kill(vm, run);
        throw error;
      } finally {
        controller.abort();
        child.release();
      }
    });
  }

  async whenAnswering(vm: string, run: string, signal: AbortSignal): Promise<void> {
    const endsMs = Date.now() + START_MS;
    while (!signal.aborted) {
      const connected = existsSync(socketOf(this.places, vm)) && (await this.attach(vm, run));
      if (connected && (await this.powerOf(connected)) === 'running') return;
      if (Date.now() > endsMs) throw new HypervisorError('host', `${vm} does not run after ${START_MS} ms`);
      await sleep(POLL_MS);
    }
  }

  async look(vm: string, run: string): Promise<Power> {
    const endsMs = Date.now() + BETWEEN_MS;
    for (;;) {
      const attached = await this.attach(vm, run);
      if (attached) {
        try {
          const power = await this.powerOf(attached);
          if (power !== undefined) return power;
        } catch (error) {
          // The connection ended under the question: look again at what is there now.
          if (!attached.qmp.closed) throw error;
        }
      } else if ((await processOf(run)) === undefined) return 'gone';
      if (Date.now() > endsMs) throw new HypervisorError('unresponsive', `${vm} has a process that does not answer`);
      await sleep(POLL_MS);
    }
  }

  /** The connection to a machine, made now if there is none; undefined when nobody listens at its socket. */
  async attach(vm: string, run: string): Promise<Attached | undefined> {
    for (let underWay = this.attaching.get(vm); underWay; underWay = this.attaching.get(vm)) {
      // How it ends is told to whoever began it.
      await underWay.catch(() => undefined);
    }
    const known = this.attached.get(vm);
    if (known && !known.qmp.closed && known.run === run) return known;
    known?.qmp.close();
    this.attached.delete(vm);
    const attaching = this.connect(vm, run).finally(() => this.attaching.delete(vm));
    this.attaching.set(vm, attaching);
    return attaching;
  }

  async connect(vm: string, run: string): Promise<Attached | undefined> {
    // What a machine tells before it is known to be the one meant.
    const early: QmpEvent[] = [];
    let known = false;
    let qmp: Qmp;
    try {
      qmp = await connectQmp(socketOf(this.places, vm), {
        event: (event) => (known ? this.tell(vm, run, event) : void early.push(event)),
        lost: () => void (known && this.lost(vm, run)),
      });
    } catch (error) {
      if (error instanceof HypervisorError && error.code === 'unresponsive') throw error;
      return undefined;
    }
    const uuid = asObject(await qmp.execute('query-uuid'))?.['UUID'];
    if (uuid !== run) {
      qmp.close();
      throw new HypervisorError('unresponsive', `another life of ${vm} answers at its socket`);
    }
    known = true;
    const attached = { run, qmp };
    this.attached.set(vm, attached);
    for (const event of early) this.tell(vm, run, event);
    return attached;
  }

  /** @returns undefined for a process that is about to end */
  async powerOf({ qmp }: Attached): Promise<Power | undefined> {
    const status = asObject(await qmp.execute('query-status'))?.['status'];
    if (status === 'running') return 'running';
    if (status === 'shutdown') return undefined;
    return status === 'guest-panicked' || status === 'internal-error' ? 'broken' : 'paused';
  }

  /** The connection ended by itself. */
  async lost(vm: string, run: string): Promise<void> {
    if (this.closed) return;
    try {
      if ((await this.look(vm, run)) === 'gone') this.listener({ vm, run, kind: 'ended' });
    } catch (error) {
      this.listener({ vm, run, kind: 'mute', detail: String(error).slice(0, 500) });
    }
  }

  tell(vm: string, run: string, { event, data }: QmpEvent): void {
    const kind = toldBy.get(event);
    if (kind === undefined) return;
    const { reason, action } = data;
    const detail = typeof reason === 'string' ? reason : typeof action === 'string' ? action : undefined;
    this.listener({ vm, run, kind, ...(detail === undefined ? {} : { detail: detail.slice(0, 500) }) });
  }

  async execute(vm: string, run: string, ...command: Parameters<Qmp['execute']>): Promise<unknown> {
    const attached = await this.attach(vm, run);
    if (!attached) throw new HypervisorError('host', `${vm} has no process to talk to`);
    return attached.qmp.execute(...command);
  }

  async pause(vm: string, run: string): Promise<void> {
    await this.execute(vm, run, 'stop');
  }

  async resume(vm: string, run: string): Promise<void> {
    await this.execute(vm, run, 'cont');
  }

  async reset(vm: string, run: string): Promise<void> {
    await this.execute(vm, run, 'system_reset');
  }

  async pressPowerButton(vm: string, run: string): Promise<void> {
    await this.execute(vm, run, 'system_powerdown');
  }

  async kill(vm: string, run: string): Promise<void> {
    const pid = await processOf(run);
    if (pid !== undefined) signalKill(pid);
    if (!(await this.ended(vm, run, BETWEEN_MS, new AbortController().signal))) {
      throw new HypervisorError('unresponsive', `${vm} outlives being killed`);
    }
  }

  async ended(vm: string, run: string, withinMs: number, signal: AbortSignal): Promise<boolean> {
    const endsMs = Date.now() + withinMs;
    for (;;) {
      // A connection that is there means a process; looking at the processes costs more.
      const connected = this.attached.get(vm)?.run === run && this.attached.get(vm)?.qmp.closed === false;
      if (!connected && (await processOf(run)) === undefined) return true;
      if (Date.now() >= endsMs || signal.aborted) return false;
      await sleep(POLL_MS);
    }
  }

  // Changes while it runs.

  async changeLive(vm: string, run: string, from: MachineConfig, to: MachineConfig): Promise<readonly ConfigField[]> {
    const done: ConfigField[] = [];
    for (const field of changedFields(from, to)) {
      try {
        if (await this.changeField(vm, run, field, from, to)) done.push(field);
      } catch (error) {
        // What QEMU refuses to change while it runs changes at the next start.
        if (!(error instanceof HypervisorError && error.code === 'refused')) throw error;
      }
    }
    return done;
  }

  /** Whether it could. Taking something away needs the guest's consent, which one that knows no hot-plug never gives. */
  async changeField(
    vm: string,
    run: string,
    field: ConfigField,
    from: MachineConfig,
    to: MachineConfig,
  ): Promise<boolean> {
    switch (field) {
      case 'onCrash':
        return true;
      case 'cpus':
        return to.cpus > from.cpus && this.addCpus(vm, run, to.cpus);
      case 'memoryMiB':
        return to.memoryMiB > from.memoryMiB && this.addMemory(vm, run, from.memoryMiB, to.memoryMiB);
      case 'disks': {
        const fits = from.disks.every(({ name }) => to.disks.some((disk) => disk.name === name));
        return fits && this.addDisks(vm, run, to);
      }
      case 'network':
        return to.network === 'user' && this.addNetwork(vm, run);
    }
  }

  async addCpus(vm: string, run: string, cpus: number): Promise<boolean> {
    const slots = asObjects(await this.execute(vm, run, 'query-hotpluggable-cpus'));
    const free = slots.filter((slot) => !('qom-path' in slot)).toReversed();
    for (const slot of free.slice(0, cpus - (slots.length - free.length))) {
      const { 'core-id': core = 0, 'socket-id': socket = 0, 'thread-id': thread = 0 } = asObject(slot['props']) ?? {};
      await this.execute(vm, run, 'device_add', {
        driver: slot['type'],
        id: `cpu-${Number(socket)}-${Number(core)}-${Number(thread)}`,
        'core-id': core,
        'socket-id': socket,
        'thread-id': thread,
      });
    }
    return true;
  }

  /** One module of memory for each change, named after what the machine has with it. */
  async addMemory(vm: string, run: string, fromMiB: number, toMiB: number): Promise<boolean> {
    const id = `memory-${toMiB}`;
    if (await this.has(vm, run, 'query-memory-devices', (one) => asObject(one['data'])?.['id'] === id)) return true;
    const size = (toMiB - fromMiB) * 1024 * 1024;
    await this.orThere(vm, run, 'object-add', { 'qom-type': 'memory-backend-ram', id: `${id}-ram`, size });
    await this.execute(vm, run, 'device_add', { driver: 'pc-dimm', id, memdev: `${id}-ram` });
    return true;
  }

  async addDisks(vm: string, run: string, to: MachineConfig): Promise<boolean> {
    for (const { name } of to.disks) {
      const node = nodeOf(name);
      const there = await this.has(vm, run, 'query-named-block-nodes', (one) => one['node-name'] === node, {
        flat: true,
      });
      if (!there) await this.execute(vm, run, 'blockdev-add', blockNode(this.places, vm, name));
      await this.orThere(vm, run, 'device_add', { driver: 'virtio-blk-pci', id: node, drive: node });
    }
    return true;
  }

  async addNetwork(vm: string, run: string): Promise<boolean> {
    await this.orThere(vm, run, 'netdev_add', { type: 'user', id: 'net', restrict: true });
    await this.orThere(vm, run, 'device_add', { driver: 'virtio-net-pci', id: 'nic', netdev: 'net' });
    return true;
  }

  async has(
    vm: string,
    run: string,
    query: Parameters<Qmp['execute']>[0],
    is: (one: Record<string, unknown>) => boolean,
    parameters: Record<string, unknown> = {},
  ): Promise<boolean> {
    return asObjects(await this.execute(vm, run, query, parameters)).some(is);
  }

  /** Adds something under an id; that the id is taken means that it was added before. */
  async orThere(vm: string, run: string, ...command: Parameters<Qmp['execute']>): Promise<void> {
    try {
      await this.execute(vm, run, ...command);
    } catch (error) {
      const taken = error instanceof HypervisorError && /duplicate|already|attempt to add/i.test(error.message);
      if (!taken) throw error;
    }
  }

  // Looking at it.

  console(vm: string, run: string | null): Promise<string> {
    return orHost(async () => {
      const file = join(folderOf(this.places, vm), 'console.log');
      if (run !== null) {
        const read = await this.execute(vm, run, 'ringbuf-read', {
          device: 'serial',
          size: SERIAL_BYTES,
          format: 'base64',
        });
        const bytes = Buffer.from(typeof read === 'string' ? read : '', 'base64');
        // Reading takes it out of the ring, so it is kept here.
        if (bytes.length > 0) await appendFile(file, bytes, { mode: 0o600 });
      }
      const kept = existsSync(file) ? await readFile(file) : Buffer.alloc(0);
      const last = kept.subarray(-CONSOLE_BYTES_MAX);
      if (kept.length > 2 * CONSOLE_BYTES_MAX) await writeFile(file, last, { mode: 0o600 });
      return last.toString('utf8');
    });
  }

  screenshot(vm: string, run: string): Promise<Picture> {
    return orHost(async () => {
      const file = join(folderOf(this.places, vm), 'screen.ppm');
      await this.execute(vm, run, 'screendump', { filename: file });
      try {
        if ((await stat(file)).size > PPM_BYTES_MAX)
          throw new HypervisorError('refused', 'the screenshot is too large');
        return pictureOf(await readFile(file));
      } finally {
        await rm(file, { force: true });
      }
    });
  }

  close(): Promise<void> {
    this.closed = true;
    for (const { qmp } of this.attached.values()) qmp.close();
    this.attached.clear();
    return Promise.resolve();
  }
}

/** What goes wrong with a file is the host's failure, like the rest. */
async function orHost<Result>(act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof HypervisorError) throw error;
    throw new HypervisorError('host', error instanceof Error ? error.message : String(error), error);
  }
}

const toldBy: ReadonlyMap<string, Told['kind']> = new Map([
  ['SHUTDOWN', 'shutdown'],
  ['RESET', 'reset'],
  ['STOP', 'paused'],
  ['RESUME', 'resumed'],
  ['POWERDOWN', 'powerdown'],
  ['GUEST_PANICKED', 'panicked'],
  ['BLOCK_IO_ERROR', 'io-error'],
]);
