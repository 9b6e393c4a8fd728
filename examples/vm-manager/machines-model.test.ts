import type { Event } from 'carillon';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  type MachineState,
  type Verb,
  verbs,
  verbByType,
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
import { type SimulatedManager, simulatedManager } from './simulated-manager.ts';

/**
 * Any sequence of requests, of what machines do by themselves, of deaths and of restarts of the manager, ends consistent:
 * what is recorded is what is real, each request has come to one fact, and the facts of a machine tell its life in a way
 * that machine-states.ts allows, up to the state it is in.
 */
const vms = ['a', 'b', 'c'] as const;
type Vm = (typeof vms)[number];

const requestOf: Readonly<Record<Verb, (vm: Vm, choice: number) => Event>> = {
  create: (vm, choice) => VmCreateRequested({ vm, config: { onCrash: choice % 3 === 0 ? 'restart' : 'leave' } }),
  start: (vm) => VmStartRequested({ vm }),
  stop: (vm, choice) => VmStopRequested({ vm, deadlineMs: [0, 1500, 10_000][choice % 3] }),
  pause: (vm) => VmPauseRequested({ vm }),
  resume: (vm) => VmResumeRequested({ vm }),
  reset: (vm) => VmResetRequested({ vm }),
  configure: (vm, choice) =>
    VmConfigureRequested({ vm, change: { cpus: 1 + (choice % 4), disks: [{ name: 'd', sizeMiB: 1 + (choice % 2) }] } }),
  snapshot: (vm, choice) => VmSnapshotRequested({ vm, snapshot: `s-${choice % 3}` }),
  delete: (vm) => VmDeleteRequested({ vm }),
};

const happenings = ['kill', 'shutDown', 'panic', 'pauseItself', 'resetItself', 'fallSilent'] as const;

interface Asked {
  readonly vm: Vm;
  readonly verb: Verb;
  readonly choice: number;
}

type Step =
  | ({ readonly do: 'ask' } & Asked)
  | { readonly do: 'happen'; readonly vm: Vm; readonly what: (typeof happenings)[number] }
  /** Asks, and the manager dies while it does what was asked, so many times. */
  | ({ readonly do: 'die'; readonly calls: number; readonly when: 'before' | 'after'; readonly times: number } & Asked)
  | { readonly do: 'kill' }
  | { readonly do: 'fail'; readonly starts: number }
  | { readonly do: 'pass'; readonly ms: number };

const vm = fc.constantFrom(...vms);
const asked = { vm, verb: fc.constantFrom<Verb>(...verbs, 'start', 'stop'), choice: fc.nat(11) };
/** More attempts than a request has. */
const TIMES_MAX = 6;
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant('ask'), ...asked }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('happen'), vm, what: fc.constantFrom(...happenings) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('die'),
      ...asked,
      calls: fc.nat(4),
      when: fc.constantFrom('before', 'after'),
      times: fc.constantFrom(1, 1, 1, 2, TIMES_MAX),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('fail'), starts: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('pass'), ms: fc.constantFrom(0, 0, 250, 2000) }) },
);

/** Not waited for: the manager may die before it is durable, and then it never was asked. */
function ask(manager: SimulatedManager, { vm: name, verb, choice }: Asked): void {
  manager.test.bus.publish(requestOf[verb](name, choice)).catch(() => undefined);
}

async function take(manager: SimulatedManager, one: Step): Promise<void> {
  // What happens to machines, happens to those of a dead manager too.
  if (one.do === 'happen') return manager.host[one.what](one.vm);
  if (manager.dead) await manager.start();
  switch (one.do) {
    case 'ask':
      return ask(manager, one);
    case 'die':
      await manager.test.settle();
      if (!manager.dead) ask(manager, one);
      for (let time = 0; time < one.times; time++) {
        if (manager.dead) await manager.start();
        manager.dieAfter(one.calls, one.when);
        // Retries wait on the bus's clock.
        await manager.pass(RETRY_MS);
      }
      return;
    case 'kill':
      await manager.test.settle();
      return manager.kill();
    case 'fail':
      manager.host.failingStarts = one.starts;
      return;
    case 'pass':
      await manager.test.settle();
      return manager.pass(one.ms);
  }
}

const RETRY_MS = 2000;

const moves: Readonly<Record<string, readonly [from: readonly MachineState[], to: MachineState]>> = {
  'vm.created': [['absent'], 'stopped'],
  'vm.started': [['stopped', 'crashed'], 'running'],
  'vm.stopped': [['running', 'paused'], 'stopped'],
  'vm.paused': [['running'], 'paused'],
  'vm.resumed': [['paused'], 'running'],
  'vm.reset': [['running'], 'running'],
  'vm.snapshot.taken': [['stopped', 'running', 'paused'], 'stopped'],
  'vm.crashed': [['running', 'paused'], 'crashed'],
  'vm.deleted': [['stopped', 'crashed'], 'absent'],
};

/** The state that a machine's facts lead to. */
function told(facts: readonly Event[]): MachineState {
  let state: MachineState = 'absent';
  for (const { type } of facts) {
    const move = moves[type];
    if (!move) continue;
    expect(move[0], `${type} of a machine that is ${state}`).toContain(state);
    if (type !== 'vm.snapshot.taken') state = move[1];
  }
  return state;
}

const requestIn = (data: unknown): string | null => (data as { request?: string | null }).request ?? null;
const isGivenUp = (data: unknown): boolean =>
  ['host', 'interrupted'].includes((data as { reason?: { code: string } }).reason?.code ?? '');
const shown = (events: readonly Event[]): string =>
  events.map(({ id, type, data }) => `${type} ${id} ${JSON.stringify(data)}`).join('\n');

async function expectConsistent({ host, records, log }: SimulatedManager): Promise<void> {
  expect(host.doubled, 'starts of what had a process').toBe(0);
  const events = await log();
  for (const name of vms) {
    const own = events.filter(({ subject }) => subject === name);
    const { state, run, doing } = records.get(name);
    expect(doing, `what ${name} is in the middle of`).toBeNull();
    const facts = own.filter(({ data }) => 'request' in (data as object));
    expect(told(facts), `the state that is told of ${name}`).toBe(state);
    const real = host.running.get(name);
    expect(real?.power ?? 'gone', `the process of ${name}, which is ${state}`).toBe(
      state === 'running' || state === 'paused' ? state : 'gone',
    );
    expect(real?.run ?? null, `the life of ${name}`).toBe(run);
    expect(host.disks.has(name), `whether ${name}, which is ${state}, has disks`).toBe(state !== 'absent');
    const asked = own.filter(({ type }) => verbByType.has(type)).map(({ id }) => id);
    const answers = own.filter(({ type, data }) => type !== 'vm.request.died' && requestIn(data) !== null);
    const answered = answers.map(({ data }) => String(requestIn(data)));
    expect(answered.toSorted(), `the requests that the facts of ${name} answer in\n${shown(own)}\n`).toEqual(
      asked.toSorted(),
    );
    // That a request was given up may be told after later ones were carried out: by the news of its dead letter.
    const inTime = answers.filter(({ data }) => !isGivenUp(data)).map(({ data }) => requestIn(data));
    expect(inTime, `the order of the facts of ${name} in\n${shown(own)}\n`).toEqual(
      asked.filter((id) => inTime.includes(id)),
    );
  }
}

/** What random sequences have found, rarely enough to be kept. */
const found: Step[][] = [
  // What a machine told comes again after a crash, before the stop that was being done: it is no news of that stop's end.
  [
    { do: 'die', vm: 'a', verb: 'create', choice: 0, calls: 3, when: 'before', times: 6 },
    { do: 'happen', vm: 'a', what: 'resetItself' },
    { do: 'ask', vm: 'a', verb: 'stop', choice: 0 },
  ],
  // A deletion that took the manager with it every time is finished by the next turn, and then is a dead letter too.
  [
    { do: 'ask', vm: 'b', verb: 'stop', choice: 0 },
    { do: 'die', vm: 'b', verb: 'delete', choice: 0, calls: 0, when: 'after', times: 6 },
  ],
];

/** Long enough for every retry, every rest of the host and every stop. */
const QUIET_MS = 90_000;

it('ends consistent whatever is asked, happens and dies', { timeout: 300_000 }, async () => {
  const outcome = await fc.check(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
      const manager = await simulatedManager({ deaf: (name) => name === 'c' });
      try {
        // Most of what can go wrong needs a machine that runs.
        for (const [choice, name] of vms.entries()) {
          for (const verb of ['create', 'start'] as const) ask(manager, { vm: name, verb, choice });
        }
        for (const one of steps) await take(manager, one);
        if (!manager.dead) await manager.test.settle();
        manager.host.mute.clear();
        // Dies at most once more: by a fuse that is still lit.
        do {
          if (manager.dead) await manager.start();
          await manager.pass(QUIET_MS);
        } while (manager.dead);
        await expectConsistent(manager);
      } finally {
        await manager.stop();
      }
    }),
    { numRuns: Number(process.env['CARILLON_MODEL_RUNS'] ?? 100), examples: found.map((steps) => [steps]) },
  );
  const told = outcome.failed ? `${fc.defaultReportMessage(outcome)}\n${String(outcome.errorInstance)}` : 'consistent';
  expect(told).toBe('consistent');
});
