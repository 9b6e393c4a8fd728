import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { GUEST_UP } from './boot-sector.ts';
import { machineConfig } from './config.ts';
import type { Hypervisor, Told } from './hypervisor.ts';
import { HypervisorError } from './hypervisor-error.ts';

/** A world in which machines run, and managers come and go. */
export interface HypervisorUnderTest {
  /** Another manager's hypervisor on the same world. */
  open(): Hypervisor;
  /** Ends a machine's process from outside. */
  killFromOutside(vm: string, run: string): Promise<void>;
  /** Processes of the run: never more than one. */
  processes(run: string): Promise<number>;
  /** Ends all that is left, and the world. */
  dispose(): Promise<void>;
}

const PATIENCE_MS = 30_000;

/** Waits until something holds; the time only bounds how long a failure takes. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const endsMs = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > endsMs) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
    await sleep(10);
  }
}

const plain = machineConfig.parse({});
const never = new AbortController().signal;
const codeOf = (error: unknown): unknown => (error instanceof HypervisorError ? error.code : error);

/** What every hypervisor promises (hypervisor.ts). The same cases for all. */
export function describeHypervisor(name: string, openWorld: () => HypervisorUnderTest): void {
  describe(`${name} as a hypervisor`, () => {
    const worlds: HypervisorUnderTest[] = [];
    afterEach(async () => {
      for (const world of worlds.splice(0)) await world.dispose();
    });

    const begin = () => {
      const world = openWorld();
      worlds.push(world);
      const told: Told[] = [];
      const hypervisor = world.open();
      hypervisor.listen((one) => told.push(one));
      return { world, hypervisor, told };
    };

    const running = async (vm = 'm-1', config = plain) => {
      const begun = begin();
      const run = randomUUID();
      await begun.hypervisor.createDisks(vm, config, undefined);
      await begun.hypervisor.start(vm, run, config);
      return { ...begun, vm, run };
    };
    const kinds = (told: readonly Told[]): string[] => told.map(({ kind }) => kind);

    it('H1 says what it is', async () => {
      expect(await begin().hypervisor.describe()).toMatch(/\S/);
    });

    it('H2 starts a machine in one process, which looking finds', async () => {
      const { hypervisor, world, vm, run } = await running();
      expect(await hypervisor.look(vm, run)).toBe('running');
      expect(await world.processes(run)).toBe(1);
    });

    it('H3 says gone of a life that never was', async () => {
      const { hypervisor } = begin();
      expect(await hypervisor.look('m-1', randomUUID())).toBe('gone');
    });

    it('H4 pauses and resumes, both repeatable', async () => {
      const { hypervisor, vm, run } = await running();
      await hypervisor.pause(vm, run);
      await hypervisor.pause(vm, run);
      expect(await hypervisor.look(vm, run)).toBe('paused');
      await hypervisor.resume(vm, run);
      await hypervisor.resume(vm, run);
      expect(await hypervisor.look(vm, run)).toBe('running');
    });

    it('H5 tells that a machine pauses, resumes and is reset', async () => {
      const { hypervisor, vm, run, told } = await running();
      await hypervisor.pause(vm, run);
      await hypervisor.resume(vm, run);
      await hypervisor.reset(vm, run);
      await until('all three are told', () =>
        ['paused', 'resumed', 'reset'].every((kind) => kinds(told).includes(kind)),
      );
      expect(told.every((one) => one.vm === vm && one.run === run)).toBe(true);
    });

    it('H6 lets the guest shut down when the power button is pressed', async () => {
      const { hypervisor, world, vm, run, told } = await running();
      await until('the guest has shut down', async () => {
        // A guest that is still booting does not hear it; one that has ended cannot be asked.
        await hypervisor.pressPowerButton(vm, run).catch((error: unknown) => {
          if (!(error instanceof HypervisorError)) throw error;
        });
        return hypervisor.ended(vm, run, 500, never);
      });
      await until('its end is told', () => kinds(told).includes('ended'));
      expect(told.find(({ kind }) => kind === 'shutdown')?.detail).toBe('guest-shutdown');
      expect(kinds(told).indexOf('shutdown')).toBeLessThan(kinds(told).indexOf('ended'));
      expect(await hypervisor.look(vm, run)).toBe('gone');
      expect(await world.processes(run)).toBe(0);
    });

    it('H7 kills, repeatably, and tells the end but no shutdown of the guest', async () => {
      const { hypervisor, world, vm, run, told } = await running();
      await hypervisor.kill(vm, run);
      expect(await world.processes(run)).toBe(0);
      await hypervisor.kill(vm, run);
      expect(await hypervisor.ended(vm, run, 0, never)).toBe(true);
      await until('its end is told', () => kinds(told).includes('ended'));
      expect(told.some(({ detail }) => detail === 'guest-shutdown')).toBe(false);
    });

    it('H8 waits for an end no longer than it is told to', async () => {
      const { hypervisor, vm, run } = await running();
      expect(await hypervisor.ended(vm, run, 1, never)).toBe(false);
      expect(await hypervisor.ended(vm, run, 60_000, AbortSignal.abort())).toBe(false);
    });

    it('H9 tells that a process was killed from outside', async () => {
      const { hypervisor, world, vm, run, told } = await running();
      await world.killFromOutside(vm, run);
      await until('its end is told', () => kinds(told).includes('ended'));
      expect(await hypervisor.look(vm, run)).toBe('gone');
    });

    it('H10 leaves machines alone when it closes, and another finds them by name and run', async () => {
      const { hypervisor, world, vm, run } = await running();
      await hypervisor.close();
      expect(await world.processes(run)).toBe(1);
      const next = world.open();
      const told: Told[] = [];
      next.listen((one) => told.push(one));
      expect(await next.look(vm, run)).toBe('running');
      await next.pause(vm, run);
      await until('it hears the machine', () => kinds(told).includes('paused'));
      expect(await world.processes(run)).toBe(1);
      await world.killFromOutside(vm, run);
      await until('it hears its end', () => kinds(told).includes('ended'));
    });

    it('H11 gives more while the machine runs, repeatably, and leaves less for the next start', async () => {
      const { hypervisor, vm, run } = await running();
      const more = machineConfig.parse({
        cpus: 3,
        memoryMiB: 128,
        disks: [{ name: 'data', sizeMiB: 8 }],
        network: 'user',
        onCrash: 'restart',
      });
      await hypervisor.changeDisks(vm, plain, more, plain);
      const all = ['memoryMiB', 'cpus', 'disks', 'network', 'onCrash'];
      expect(await hypervisor.changeLive(vm, run, plain, more)).toEqual(all);
      expect(await hypervisor.changeLive(vm, run, plain, more)).toEqual(all);
      expect(await hypervisor.changeLive(vm, run, more, plain)).toEqual(['onCrash']);
      expect(await hypervisor.look(vm, run)).toBe('running');
    });

    it('H12 starts a machine with all that it can have', async () => {
      const disks = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((name) => ({ name, sizeMiB: 1 }));
      const full = machineConfig.parse({ cpus: 16, memoryMiB: 256, disks, network: 'user' });
      const { hypervisor, vm, run } = await running('x'.repeat(36), full);
      expect(await hypervisor.look(vm, run)).toBe('running');
    });

    it('H13 refuses another size for a disk', async () => {
      const { hypervisor } = begin();
      const small = machineConfig.parse({ disks: [{ name: 'data', sizeMiB: 8 }] });
      const large = machineConfig.parse({ disks: [{ name: 'data', sizeMiB: 9 }] });
      await hypervisor.createDisks('m-1', small, undefined);
      await expect(hypervisor.changeDisks('m-1', small, large, null).catch(codeOf)).resolves.toBe('refused');
    });

    it('H14 keeps snapshots, with and without a process, repeatably', async () => {
      const { hypervisor, vm, run } = await running();
      await hypervisor.snapshot(vm, run, 'first');
      await hypervisor.snapshot(vm, run, 'first');
      await hypervisor.kill(vm, run);
      await hypervisor.snapshot(vm, null, 'first');
      await hypervisor.snapshot(vm, null, 'second');
      await hypervisor.snapshot(vm, null, 'second');
      // The disk is as good as before.
      const next = randomUUID();
      await hypervisor.start(vm, next, plain);
      expect(await hypervisor.look(vm, next)).toBe('running');
    });

    it('H15 shows what the guest printed, and its screen as a PNG', async () => {
      const { hypervisor, vm, run } = await running();
      await until('the guest is up', async () => (await hypervisor.console(vm, run)).includes(GUEST_UP));
      const { png, width, height } = await hypervisor.screenshot(vm, run);
      expect([...png.subarray(0, 4)]).toEqual([0x89, 0x50, 0x4e, 0x47]);
      expect(width * height).toBeGreaterThan(0);
    });

    it('H16 refuses an image that is not there', async () => {
      const { hypervisor } = begin();
      await expect(hypervisor.createDisks('m-1', plain, 'none.raw').catch(codeOf)).resolves.toBe('refused');
    });

    it('H17 leaves no process behind of a start that failed', async () => {
      const { hypervisor, world } = begin();
      const run = randomUUID();
      await expect(hypervisor.start('m-1', run, plain).catch(codeOf)).resolves.toBe('host');
      expect(await world.processes(run)).toBe(0);
      expect(await hypervisor.look('m-1', run)).toBe('gone');
    });

    it('H18 refuses to command a machine that is gone', async () => {
      const { hypervisor, vm, run } = await running();
      await hypervisor.kill(vm, run);
      await expect(hypervisor.pause(vm, run).catch(codeOf)).resolves.toBe('host');
    });

    it('H19 makes and removes disks repeatably', async () => {
      const { hypervisor } = begin();
      await hypervisor.createDisks('m-1', plain, undefined);
      await hypervisor.createDisks('m-1', plain, undefined);
      await hypervisor.removeDisks('m-1');
      await hypervisor.removeDisks('m-1');
      await expect(hypervisor.start('m-1', randomUUID(), plain).catch(codeOf)).resolves.toBe('host');
    });

    it('H20 keeps machines apart', async () => {
      const { hypervisor, vm, run } = await running();
      const other = randomUUID();
      await hypervisor.createDisks('m-2', plain, undefined);
      await hypervisor.start('m-2', other, plain);
      await hypervisor.kill(vm, run);
      expect(await hypervisor.look('m-2', other)).toBe('running');
      expect(await hypervisor.look('m-2', run).catch(codeOf)).not.toBe('running');
    });
  });
}
