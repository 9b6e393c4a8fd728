import { join, resolve } from 'node:path';
import { type Bus, createBus, type Logger } from 'carillon';
import { sqlite } from 'carillon/sqlite';
import type { Hypervisor } from './hypervisor.ts';
import { inventory } from './inventory.ts';
import { machines } from './machines.ts';
import { type QemuOptions, qemuHypervisor } from './qemu-hypervisor.ts';
import { type MachineRecord, recordsInFolder } from './records.ts';
import { SimulatedHost, simulatedHypervisor } from './simulated-hypervisor.ts';

export interface ManagerOptions {
  /** The data folder: events, records, disks, sockets. Only this user may enter it. */
  readonly data: string;
  readonly hypervisor: Hypervisor['name'];
  readonly accelerator?: QemuOptions['accelerator'];
  /** Machines worked on at once. Default 16. */
  readonly concurrency?: number;
  readonly log?: Logger;
}

export interface OpenManager {
  readonly bus: Bus;
  readonly hypervisor: Hypervisor;
  /** What is recorded of every machine that exists. */
  machines(): readonly MachineRecord[];
  /** Stops the manager; the machines go on. */
  stop(): Promise<void>;
}

/** Where the simulated host keeps its machines. */
export const simulatedFolder = (data: string): string => join(data, 'simulated');

/** The whole manager in this process: a bus on the disk, the two modules, a hypervisor. */
export async function openManager({
  data,
  hypervisor: name,
  accelerator,
  concurrency,
  log,
}: ManagerOptions): Promise<OpenManager> {
  const folder = resolve(data);
  const host = name === 'simulated' ? new SimulatedHost({ directory: simulatedFolder(folder) }) : undefined;
  const hypervisor = host
    ? simulatedHypervisor(host)
    : qemuHypervisor({ data: folder, ...(accelerator && { accelerator }) });
  await hypervisor.describe();
  const records = await recordsInFolder(join(folder, 'records'), Date.now());
  const bus = await createBus({
    engine: sqlite(join(folder, 'events')),
    modules: [
      machines({ hypervisor, records, ...(concurrency && { concurrency }) }),
      inventory({ hypervisor, records }),
    ],
    ...(log && { log }),
  });
  return {
    bus,
    hypervisor,
    machines: () => records.all().filter(({ state }) => state !== 'absent'),
    stop: async () => {
      await bus.stop();
      await records.close();
      host?.close();
    },
  };
}
