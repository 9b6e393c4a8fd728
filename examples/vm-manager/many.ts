import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bus, Event } from 'carillon';
import {
  VmConfigureRequested,
  VmCreateRequested,
  VmDeleteRequested,
  VmPauseRequested,
  VmResetRequested,
  VmResumeRequested,
  VmSnapshotRequested,
  VmStartRequested,
  VmStopRequested,
} from './events.ts';
import { openManager } from './open-manager.ts';

/**
 * Many requests for many simulated machines, published as fast as the bus takes them. Each machine's requests are a
 * walk through its states, with an illegal one now and then. Checked at the end: each request came to one fact, the facts of
 * each machine stand in the order of its requests, and no request is left in the middle.
 */
export interface ManyOptions {
  readonly machines: number;
  readonly requests: number;
  readonly say: (line: string) => void;
}

/** Each turn waits for the disk, and turns that wait together share its flushes. */
const CONCURRENCY = 128;
const IN_FLIGHT = 1000;
const DEADLINE_MS = 600_000;
const MEMORY_SAMPLE_MS = 20;

const MiB = 1024 * 1024;

/** What one machine is asked, in turn; the resume that follows a start is illegal. */
function requestOf(vm: string, turn: number): Event {
  const steps: readonly (() => Event)[] = [
    () => VmStartRequested({ vm }),
    () => VmResumeRequested({ vm }),
    () => VmPauseRequested({ vm }),
    () => VmResumeRequested({ vm }),
    () => VmConfigureRequested({ vm, change: { cpus: 1 + (turn % 8) } }),
    () => VmResetRequested({ vm }),
    () => VmSnapshotRequested({ vm, snapshot: `turn-${turn}` }),
    () => VmStopRequested({ vm }),
    () => VmDeleteRequested({ vm }),
  ];
  if (turn % (steps.length + 1) === 0) return VmCreateRequested({ vm });
  return (steps[(turn % (steps.length + 1)) - 1] as () => Event)();
}

export async function runMany({ machines, requests, say }: ManyOptions): Promise<readonly string[]> {
  const data = await mkdtemp(join(tmpdir(), 'carillon-vms-'));
  const manager = await openManager({ data, hypervisor: 'simulated', concurrency: CONCURRENCY });
  const before = process.memoryUsage().rss;
  let highest = before;
  const sampling = setInterval(() => (highest = Math.max(highest, process.memoryUsage().rss)), MEMORY_SAMPLE_MS);
  try {
    say(`${machines} machines, ${requests} requests, on ${await manager.hypervisor.describe()}`);
    const startedMs = performance.now();
    const asked = await publishAll(manager.bus, machines, requests);
    const publishedMs = performance.now();
    await manager.bus.drain({ deadlineMs: DEADLINE_MS });
    const settledMs = performance.now();
    const seconds = (ms: number): string => (ms / 1000).toFixed(2);
    say(
      `published in ${seconds(publishedMs - startedMs)} s, settled in ${seconds(settledMs - startedMs)} s: ${Math.round((requests * 1000) / (settledMs - startedMs))} requests/s`,
    );
    say(`memory: ${Math.round(before / MiB)} MiB before, ${Math.round(highest / MiB)} MiB at most`);
    const problems = await judge(manager.bus, asked);
    const unsettled = manager.machines().filter(({ doing }) => doing !== null);
    if (unsettled.length > 0) problems.push(`${unsettled.length} machines are in the middle of something`);
    say(
      `states: ${statesOf(
        manager.machines().map(({ state }) => state),
        machines,
      )}`,
    );
    return problems;
  } finally {
    clearInterval(sampling);
    await manager.stop();
    await rm(data, { recursive: true, force: true });
  }
}

function statesOf(states: readonly string[], machines: number): string {
  const counts = new Map<string, number>();
  for (const state of states) counts.set(state, (counts.get(state) ?? 0) + 1);
  counts.set('absent', machines - states.length);
  return [...counts].map(([state, count]) => `${count} ${state}`).join(', ');
}

/** The ids of each machine's requests, in the order in which they were published. */
async function publishAll(bus: Bus, machines: number, requests: number): Promise<Map<string, string[]>> {
  const asked = new Map<string, string[]>();
  for (let sent = 0; sent < requests; sent += IN_FLIGHT) {
    const events: Event[] = [];
    for (let index = sent; index < Math.min(requests, sent + IN_FLIGHT); index++) {
      const vm = `vm-${index % machines}`;
      const event = requestOf(vm, Math.floor(index / machines));
      const ids = asked.get(vm);
      if (ids) ids.push(event.id);
      else asked.set(vm, [event.id]);
      events.push(event);
    }
    await Promise.all(events.map((event) => bus.publish(event)));
  }
  return asked;
}

async function judge(bus: Bus, asked: ReadonlyMap<string, readonly string[]>): Promise<string[]> {
  const answered = new Map<string, string[]>();
  for await (const { event } of bus.read({ type: 'vm.>' })) {
    const { request } = (event.data ?? {}) as { request?: unknown };
    if (typeof request !== 'string' || event.subject === undefined) continue;
    const ids = answered.get(event.subject);
    if (ids) ids.push(request);
    else answered.set(event.subject, [request]);
  }
  const wrong = [...asked].filter(([vm, ids]) => JSON.stringify(answered.get(vm)) !== JSON.stringify(ids));
  return wrong.map(([vm]) => `the facts of ${vm} are not those of its requests, in their order`);
}
