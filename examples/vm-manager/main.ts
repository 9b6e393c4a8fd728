import { parseArgs } from 'node:util';
import { runFleet } from './fleet.ts';
import { runMany } from './many.ts';
import { missingForQemu } from './qemu-hypervisor.ts';

const USAGE = `npm run example:vms [-- options]

  (none)           a fleet of three on QEMU; on the simulated hypervisor where there is no QEMU
  --simulated      the same on the simulated hypervisor
  --accelerator kvm|tcg    how QEMU runs; else KVM where /dev/kvm can be used
  --machines <n> --requests <m> --simulated
                   many requests for many machines, with the time and the memory they take`;

const { values } = parseArgs({
  options: {
    simulated: { type: 'boolean', default: false },
    accelerator: { type: 'string', default: 'auto' },
    machines: { type: 'string' },
    requests: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

async function main(): Promise<readonly string[]> {
  const { simulated, machines, requests, accelerator } = values;
  if (accelerator !== 'auto' && accelerator !== 'kvm' && accelerator !== 'tcg') return [USAGE];
  const many = machines !== undefined || requests !== undefined;
  if (many) {
    const counts = [Number(machines), Number(requests)] as const;
    if (!simulated || !counts.every((count) => Number.isSafeInteger(count) && count > 0)) return [USAGE];
    return runMany({ machines: counts[0], requests: counts[1], say: (line) => console.log(line) });
  }
  const missing = simulated ? [] : await missingForQemu();
  if (missing.length > 0) {
    console.log(`There is no ${missing.join(' and no ')} here, so the machines are simulated.`);
    console.log('For real ones: apt-get install qemu-system-x86 qemu-utils\n');
  }
  return runFleet({
    hypervisor: simulated || missing.length > 0 ? 'simulated' : 'qemu',
    accelerator,
    out: process.stdout,
  });
}

if (values.help) console.log(USAGE);
else {
  const problems = await main();
  for (const problem of problems) console.error(`problem: ${problem}`);
  console.log(
    problems.length === 0
      ? 'Every machine ended as it should, and nothing is left behind.'
      : `${problems.length} problems.`,
  );
  process.exitCode = problems.length === 0 ? 0 : 1;
}
