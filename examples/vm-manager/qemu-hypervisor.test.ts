import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { machineConfig } from './config.ts';
import { describeHypervisor, type HypervisorUnderTest } from './hypervisor-contract.ts';
import { missingForQemu, qemuHypervisor } from './qemu-hypervisor.ts';
import { processesOf, processOf, qemuImg, signalKill } from './qemu-process.ts';

const missing = await missingForQemu();

function qemuWorld(): HypervisorUnderTest & { readonly data: string } {
  const data = mkdtempSync(join(tmpdir(), 'carillon-vm-'));
  const opened: ReturnType<typeof qemuHypervisor>[] = [];
  const ours = () => processesOf((words) => words.some((word) => word.includes(`path=${data}/`)));
  return {
    data,
    open: () => {
      // TCG everywhere: KVM inside a virtual machine may take seconds to get through the BIOS.
      const hypervisor = qemuHypervisor({ data, accelerator: 'tcg' });
      opened.push(hypervisor);
      return hypervisor;
    },
    killFromOutside: async (_vm, run) => {
      const pid = await processOf(run);
      if (pid !== undefined) signalKill(pid);
    },
    processes: async (run) => (await processesOf((words) => words.includes(run))).length,
    dispose: async () => {
      for (const hypervisor of opened) await hypervisor.close();
      for (const { pid } of await ours()) signalKill(pid);
      rmSync(data, { recursive: true });
    },
  };
}

function registerMissing(): void {
  console.warn(`The QEMU hypervisor was not tested: there is no ${missing.join(' and no ')} on this computer.`);
  it('says that QEMU is not here, and which program it misses', async () => {
    const world = qemuWorld();
    const hypervisor = world.open();
    const told = hypervisor.createDisks('m-1', machineConfig.parse({}), undefined).then(() => hypervisor.describe());
    await expect(told).rejects.toThrow(/qemu/);
    await world.dispose();
  });
}

function registerQemu(): void {
  describeHypervisor('QEMU', qemuWorld);

  describe('what QEMU is given', () => {
    const worlds: ReturnType<typeof qemuWorld>[] = [];
    afterEach(async () => {
      for (const world of worlds.splice(0)) await world.dispose();
    });
    const begin = () => {
      const world = qemuWorld();
      worlds.push(world);
      return { ...world, hypervisor: world.open(), images: join(world.data, 'images') };
    };
    const plain = machineConfig.parse({});
    const image = (path: string, ...args: string[]): Promise<string> =>
      qemuImg(['create', '-q', '-f', 'qcow2', ...args, path, '1M'], false);

    it('stands in folders that only this user may enter', () => {
      const { data } = begin();
      for (const folder of ['', 'sockets', 'machines', 'images']) {
        expect(statSync(join(data, folder)).mode & 0o777).toBe(0o700);
      }
    });

    it('runs in the sandbox, with no monitor but the one over its socket', async () => {
      const { hypervisor } = begin();
      const run = randomUUID();
      await hypervisor.createDisks('m-1', plain, undefined);
      await hypervisor.start('m-1', run, plain);
      const [found] = await processesOf((words) => words.includes(run));
      const words = found?.words ?? [];
      expect(words[words.indexOf('-sandbox') + 1]).toBe(
        'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
      );
      expect(words.filter((word) => /^-(mon|monitor|qmp|vnc|gdb|s|incoming)$/.test(word))).toEqual(['-mon']);
      expect(words).toContain('-nodefaults');
      // Seccomp filters are on in the process itself (2: SECCOMP_MODE_FILTER).
      const status = readFileSync(`/proc/${found?.pid}/status`, 'utf8');
      expect(status).toMatch(/^Seccomp:\s+2$/m);
    });

    it('knows a process that stands still from one that is gone, and can kill it', async () => {
      const { hypervisor, processes } = begin();
      const run = randomUUID();
      await hypervisor.createDisks('m-1', plain, undefined);
      await hypervisor.start('m-1', run, plain);
      const pid = await processOf(run);
      if (pid === undefined) throw new Error('there is no process');
      process.kill(pid, 'SIGSTOP');
      await expect(hypervisor.look('m-1', run)).rejects.toMatchObject({ code: 'unresponsive' });
      await hypervisor.kill('m-1', run);
      expect(await hypervisor.look('m-1', run)).toBe('gone');
      expect(await processes(run)).toBe(0);
    });

    it('takes an image of the folder of images, and copies it', async () => {
      const { hypervisor, images } = begin();
      await image(join(images, 'good.qcow2'));
      writeFileSync(join(images, 'good.raw'), Buffer.alloc(1024));
      await hypervisor.createDisks('m-1', plain, 'good.qcow2');
      await hypervisor.createDisks('m-2', plain, 'good.raw');
      for (const vm of ['m-1', 'm-2']) {
        expect(statSync(join(images, '..', 'machines', vm, 'boot.qcow2')).size).toBeGreaterThan(0);
      }
    });

    it('refuses images that lead elsewhere', async () => {
      const { hypervisor, images, data } = begin();
      const outside = join(data, 'outside.qcow2');
      await image(outside);
      await image(join(images, 'backed.qcow2'), '-b', outside, '-F', 'qcow2');
      await image(join(images, 'external.qcow2'), '-o', `data_file=${join(data, 'data.raw')}`);
      symlinkSync(outside, join(images, 'link.qcow2'));
      symlinkSync(data, join(images, 'folder.raw'));
      // Not what its name says: never guessed from its content.
      writeFileSync(join(images, 'text.qcow2'), 'QFI');
      const refused = async (name: string): Promise<string> => {
        const error: unknown = await hypervisor.createDisks('m-1', plain, name).catch((thrown: unknown) => thrown);
        expect(error).toMatchObject({ name: 'HypervisorError', code: 'refused' });
        return (error as Error).message;
      };
      expect(await refused('backed.qcow2')).toContain('backing file');
      expect(await refused('external.qcow2')).toContain('data file');
      expect(await refused('link.qcow2')).toContain('leads out');
      expect(await refused('folder.raw')).toContain('leads out');
      expect(await refused('text.qcow2')).toContain('qemu-img');
    });
  });
}

// A computer without QEMU has the refusal to test, and says so.
(missing.length > 0 ? registerMissing : registerQemu)();
