import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createBus, defineEvent, defineModule } from 'carillon';
import { sqlite } from 'carillon/sqlite';
import { expect, it } from 'vitest';
import { z } from 'zod';

/** The folder with the real log; it is not part of this project. */
const shared = process.env['CARILLON_SHARED_DATA'] ?? fileURLToPath(new URL('../../../shared/data', import.meta.url));
const file = join(shared, 'openstack-nova-2k.log');
const isReal = existsSync(file);

const LINE = /\[instance: ([0-9a-f-]{36})\] VM (Started|Paused|Resumed|Stopped) \(Lifecycle Event\)/;
type Step = 'Started' | 'Paused' | 'Resumed' | 'Stopped';

interface Told {
  readonly instance: string;
  readonly step: Step;
}

function parse(log: string): Told[] {
  return log.split('\n').flatMap((line) => {
    const [, instance, step] = LINE.exec(line) ?? [];
    return instance === undefined ? [] : [{ instance, step: step as Step }];
  });
}

/** 22 machines that live at the same time, each started, paused, resumed twice and, but for the last, stopped. */
function generatedLog(): string {
  const steps: readonly Step[] = ['Started', 'Paused', 'Resumed', 'Resumed', 'Stopped'];
  const lines: string[] = [];
  for (let turn = 0; turn < 22 + steps.length * 3; turn++) {
    for (let machine = 0; machine < 22; machine++) {
      const step = steps[(turn - machine) / 3];
      if (step === undefined || (machine === 21 && step === 'Stopped')) continue;
      const instance = `00000000-0000-4000-8000-${String(machine).padStart(12, '0')}`;
      lines.push(
        `nova-compute.log.1.2017-05-16_13:55:31 2017-05-16 00:00:04.500 2931 INFO nova.compute.manager [req-0 - - - - -] [instance: ${instance}] VM ${step} (Lifecycle Event)`,
        `nova-api.log.1.2017-05-16_13:53:08 2017-05-16 00:00:00.008 25746 INFO nova.osapi_compute.wsgi.server [req-0 - - - - -] 10.11.10.1 "GET /v2/servers/detail HTTP/1.1" status: 200`,
      );
    }
  }
  return lines.join('\n');
}

const Lifecycle = defineEvent('vm.lifecycle', {
  data: z.object({ instance: z.uuid(), step: z.enum(['Started', 'Paused', 'Resumed', 'Stopped']), line: z.number() }),
  subject: ({ instance }) => instance,
});

const byInstance = (told: readonly Told[]): Record<string, Step[]> => {
  const found: Record<string, Step[]> = {};
  for (const { instance, step } of told) (found[instance] ??= []).push(step);
  return found;
};

it(`keeps the order of each machine's life with 16 handlers at once (${isReal ? 'the real OpenStack log' : 'a generated log, for want of the real one'})`, async () => {
  const told = parse(isReal ? await readFile(file, 'utf8') : generatedLog());
  const directory = await mkdtemp(join(tmpdir(), 'carillon-openstack-'));
  const handled: Told[] = [];
  const begun: Told[] = [];
  let running = 0;
  let runningMax = 0;
  const hypervisor = defineModule('hypervisor', (m) => {
    m.handle(
      Lifecycle,
      async ({ data }) => {
        begun.push(data);
        running++;
        runningMax = Math.max(runningMax, running);
        // Later lines of a machine get fewer turns: without lanes they would overtake the earlier ones.
        for (let turn = 40 - (data.line % 40); turn > 0; turn--) await new Promise((resolve) => setImmediate(resolve));
        running--;
        handled.push(data);
      },
      { name: 'record', order: 'key', concurrency: 16 },
    );
  });
  const bus = await createBus({ engine: sqlite(directory), modules: [hypervisor] });
  try {
    await Promise.all(told.map(({ instance, step }, line) => bus.publish(Lifecycle({ instance, step, line }))));
    await bus.drain();
  } finally {
    await bus.stop();
    await rm(directory, { recursive: true, force: true });
  }

  expect(byInstance(handled)).toEqual(byInstance(told));
  expect(byInstance(begun)).toEqual(byInstance(told));
  const count = (step: Step): number => handled.filter((one) => one.step === step).length;
  expect([count('Started'), count('Paused'), count('Resumed'), count('Stopped')]).toEqual([22, 22, 44, 21]);
  expect(runningMax).toBeGreaterThan(1);
  expect(runningMax).toBeLessThanOrEqual(16);
});
