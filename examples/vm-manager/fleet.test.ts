import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { missingForQemu } from './qemu-hypervisor.ts';
import { processesOf } from './qemu-process.ts';

/** The example as its users run it, against the built package. */
const main = fileURLToPath(new URL('./main.ts', import.meta.url));
const jiti = fileURLToPath(new URL('../../node_modules/jiti/lib/jiti-cli.mjs', import.meta.url));

interface Ran {
  readonly code: number | null;
  readonly output: string;
}

async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  const child = spawn(process.execPath, [jiti, main, ...args], { env: { ...process.env, ...env } });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, output };
}

const processesLeft = async (): Promise<number> =>
  (await processesOf((words) => words.some((word) => /carillon-vms-\w+\/sockets/.test(word)))).length;

/** What a run of the fleet has to show, in this order. */
const story = [
  'vm.created',
  'vm.started',
  'vm.start.failed illegal while running',
  'vm.configured now: memoryMiB, cpus',
  'vm.configured at next start: cpus',
  'vm.paused',
  'vm.resumed',
  'vm.snapshot.taken',
  'vm.reset',
  'kill -9: the process of web-1',
  'vm.crashed',
  'kill -9: the manager',
  'the manager is back',
  'stop and delete',
  'vm.deleted',
  'nothing is left behind',
];

function expectStory({ code, output }: Ran): void {
  expect(output).not.toContain('problem:');
  let from = 0;
  for (const part of story) {
    const at = output.indexOf(part, from);
    expect(at, `"${part}" in what follows:\n${output.slice(from)}`).toBeGreaterThanOrEqual(0);
    from = at;
  }
  expect(code).toBe(0);
}

const missing = await missingForQemu();
/** Told in the title, so that a report never claims what was not done. */
const unless = missing.length === 0 ? '' : ' (not here: QEMU is missing; a simulated one instead)';

describe('npm run example:vms', () => {
  it('brings a simulated fleet through everything', { timeout: 120_000 }, async () => {
    const ran = await run(['--simulated']);
    expectStory(ran);
    expect(ran.output).toContain('the simulated hypervisor');
  });

  it('says that there is no QEMU where there is none, and simulates', { timeout: 120_000 }, async () => {
    const ran = await run([], { PATH: '/nowhere' });
    expect(ran.output).toContain('There is no qemu-system-x86_64 and no qemu-img here, so the machines are simulated.');
    expectStory(ran);
  });

  it(`brings a real fleet through everything, and leaves no QEMU behind${unless}`, { timeout: 240_000 }, async () => {
    const ran = await run(['--accelerator', 'tcg']);
    expectStory(ran);
    expect(ran.output).toContain(missing.length === 0 ? 'TCG' : 'so the machines are simulated');
    expect(await processesLeft()).toBe(0);
  });

  it('settles many requests for many machines, in the order of each', { timeout: 240_000 }, async () => {
    const { code, output } = await run(['--simulated', '--machines', '50', '--requests', '500']);
    expect(output).toMatch(/settled in [\d.]+ s/);
    expect(output).toMatch(/memory: \d+ MiB before, \d+ MiB at most/);
    expect(output).toContain('states: 50 absent');
    expect(code).toBe(0);
  });

  it.each([
    [['--machines', '5']],
    [['--machines', 'x', '--requests', '1', '--simulated']],
    [['--accelerator', 'warp']],
  ])('refuses %j', { timeout: 60_000 }, async (args) => {
    const { code, output } = await run(args);
    expect(output).toContain('npm run example:vms [-- options]');
    expect(code).toBe(1);
  });
});
