import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeHypervisor } from './hypervisor-contract.ts';
import { SimulatedHost, simulatedHypervisor } from './simulated-hypervisor.ts';

const count = (host: SimulatedHost, run: string): number =>
  [...host.running.values()].filter((one) => one.run === run).length;

describeHypervisor('simulated, in memory', () => {
  const host = new SimulatedHost();
  return {
    open: () => simulatedHypervisor(host),
    killFromOutside: (vm) => Promise.resolve(host.kill(vm)),
    processes: (run) => Promise.resolve(count(host, run)),
    dispose: () => Promise.resolve(host.close()),
  };
});

// Each manager with a host object of its own, as in processes of their own: what they share are the files.
describeHypervisor('simulated, in a directory', () => {
  const directory = mkdtempSync(join(tmpdir(), 'carillon-vm-'));
  const hosts: SimulatedHost[] = [];
  return {
    open: () => {
      hosts.at(-1)?.close();
      const host = new SimulatedHost({ directory });
      hosts.push(host);
      return simulatedHypervisor(host);
    },
    killFromOutside: (vm) => Promise.resolve(rmSync(join(directory, `${vm}.machine.json`))),
    processes: (run) => Promise.resolve(count(new SimulatedHostReader(directory).host, run)),
    dispose: () => {
      for (const host of hosts) host.close();
      rmSync(directory, { recursive: true });
      return Promise.resolve();
    },
  };
});

/** Reads the directory as a third process would, and lets go of it at once. */
class SimulatedHostReader {
  readonly host: SimulatedHost;

  constructor(directory: string) {
    this.host = new SimulatedHost({ directory });
    this.host.close();
  }
}
