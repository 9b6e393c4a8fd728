import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Event } from 'carillon';
import { expect, it } from 'vitest';
import { VmCreateRequested, VmPauseRequested, VmResumeRequested, VmStartRequested, VmStopRequested } from './events.ts';
import { openManager } from './open-manager.ts';

/**
 * What machines of a real cloud went through, asked of these. The folder with the real log is not part of this project;
 * without it the same is done with a log of the same shape.
 */
const shared = process.env['CARILLON_SHARED_DATA'] ?? fileURLToPath(new URL('../../../shared/data', import.meta.url));
const file = join(shared, 'openstack-nova-2k.log');
const isReal = existsSync(file);

type Word = 'Started' | 'Paused' | 'Resumed' | 'Stopped';
const LINE = /\[instance: ([0-9a-f-]{36})\] VM (Started|Paused|Resumed|Stopped) \(Lifecycle Event\)/;

function parse(log: string): (readonly [instance: string, word: Word])[] {
  return log.split('\n').flatMap((line) => {
    const [, instance, word] = LINE.exec(line) ?? [];
    return instance === undefined ? [] : [[instance, word as Word] as const];
  });
}

/** 22 lives that overlap; all but the last come to their end. */
function generated(): string {
  const words: readonly Word[] = ['Started', 'Paused', 'Resumed', 'Resumed', 'Stopped'];
  const lines: string[] = [];
  for (let turn = 0; turn < 22 + words.length; turn++) {
    for (let machine = 0; machine < 22; machine++) {
      const word = words[turn - machine];
      if (word === undefined || (machine === 21 && word === 'Stopped')) continue;
      const instance = `00000000-0000-4000-8000-${String(machine).padStart(12, '0')}`;
      lines.push(`INFO nova.compute.manager [req-0] [instance: ${instance}] VM ${word} (Lifecycle Event)`);
    }
  }
  return lines.join('\n');
}

const requestOf: Readonly<Record<Word, (vm: string) => Event>> = {
  Started: (vm) => VmStartRequested({ vm }),
  Paused: (vm) => VmPauseRequested({ vm }),
  Resumed: (vm) => VmResumeRequested({ vm }),
  Stopped: (vm) => VmStopRequested({ vm }),
};
/** What the log implies, told without the state machine: the last word is the state, and a word said twice is illegal. */
const stateOf: Readonly<Record<Word, string>> = {
  Started: 'running',
  Paused: 'paused',
  Resumed: 'running',
  Stopped: 'stopped',
};

it(`brings machines to where their log says (${isReal ? 'the real OpenStack log' : 'a generated log, for want of the real one'})`, async () => {
  const lives = parse(isReal ? readFileSync(file, 'utf8') : generated());
  expect(lives).toHaveLength(109);
  const instances = [...new Set(lives.map(([instance]) => instance))];
  const data = await mkdtemp(join(tmpdir(), 'carillon-vm-'));
  const manager = await openManager({ data, hypervisor: 'simulated', concurrency: 16 });
  let running = 0;
  let runningMax = 0;
  const started: string[] = [];
  manager.bus.observe((observation) => {
    if (!('subscription' in observation) || observation.subscription !== 'machines.turns') return;
    if (observation.kind === 'delivery-start') started.push(observation.stored.event.id);
    running += observation.kind === 'delivery-start' ? 1 : -1;
    runningMax = Math.max(runningMax, running);
  });
  try {
    for (const vm of instances) await manager.bus.publish(VmCreateRequested({ vm }));
    const asked = lives.map(([vm, word]) => ({ vm, word, event: requestOf[word](vm) }));
    await Promise.all(asked.map(({ event }) => manager.bus.publish(event)));
    await manager.bus.drain({ deadlineMs: 50_000 });

    const last = new Map(lives);
    expect(Object.fromEntries(manager.machines().map(({ vm, state }) => [vm, state]))).toEqual(
      Object.fromEntries(instances.map((vm) => [vm, stateOf[last.get(vm) as Word]])),
    );

    const facts: Event[] = [];
    for await (const { event } of manager.bus.read({ type: 'vm.>' })) {
      if (typeof (event.data as { request?: unknown }).request === 'string') facts.push(event);
    }
    const illegal = facts.filter(
      ({ type, data }) => type.endsWith('.failed') && (data as { reason: { code: string } }).reason.code === 'illegal',
    );
    const repeated = asked.filter(
      ({ vm, word }, index) =>
        word === 'Resumed' && asked.slice(0, index).findLast((one) => one.vm === vm)?.word === 'Resumed',
    );
    expect(repeated).toHaveLength(22);
    expect(illegal.map(({ data }) => (data as { request: string }).request).sort()).toEqual(
      repeated.map(({ event }) => event.id).sort(),
    );
    expect(facts.filter(({ type }) => type.endsWith('.failed'))).toHaveLength(22);

    for (const vm of instances) {
      const ids = asked.filter((one) => one.vm === vm).map(({ event }) => event.id);
      expect(
        started.filter((id) => ids.includes(id)),
        `the order in which ${vm} was worked on`,
      ).toEqual(ids);
      const answered = facts
        .filter(({ subject }) => subject === vm)
        .map(({ data }) => (data as { request: string }).request);
      expect(answered.slice(1), `the order of the facts of ${vm}`).toEqual(ids);
    }
    expect(runningMax).toBeGreaterThan(1);
    expect(runningMax).toBeLessThanOrEqual(16);
  } finally {
    await manager.stop();
    await rm(data, { recursive: true, force: true });
  }
});
