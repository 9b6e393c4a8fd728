import { defineModule, type Module } from 'carillon';
import { type Listed, VmDescribeRequested, VmListRequested, VmScreenshotRequested } from './events.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { MachineRecord, Records } from './records.ts';

/** Answers questions, beside what is being done to the machines: nobody who asks waits for a stop. */
export function inventory({ hypervisor, records }: { hypervisor: Hypervisor; records: Records }): Module {
  const strategy = {
    order: 'none',
    concurrency: 8,
    timeoutMs: 15_000,
    retry: { kind: 'none' },
    deadLetter: 'discard',
  } as const;
  return defineModule('inventory', (m) => {
    m.dependsOn('machines');
    m.handle(
      VmListRequested,
      ({ data: { after = '', limit } }) =>
        records
          .all()
          .filter(({ vm, state }) => state !== 'absent' && vm > after)
          .slice(0, limit)
          .map(listed),
      { name: 'list', ...strategy },
    );
    m.handle(
      VmDescribeRequested,
      async ({ data: { vm } }) => {
        const record = records.get(vm);
        if (record.state === 'absent') return null;
        const { config, live, run, snapshots } = record;
        const console = await hypervisor.console(vm, run);
        return { ...listed(record), config, live, run, snapshots, console };
      },
      { name: 'describe', ...strategy },
    );
    m.handle(
      VmScreenshotRequested,
      async ({ data: { vm } }) => {
        const { run } = records.get(vm);
        if (run === null) return null;
        const { width, height, png } = await hypervisor.screenshot(vm, run);
        return { width, height, pngBase64: Buffer.from(png).toString('base64') };
      },
      { name: 'screenshot', ...strategy },
    );
  });
}

function listed({ vm, state, config, live }: MachineRecord): Listed {
  const { cpus, memoryMiB } = live ?? config;
  return { vm, state, cpus, memoryMiB };
}
