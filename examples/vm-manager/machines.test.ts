import type { DefinedEvent, Event } from 'carillon';
import { afterEach, describe, expect, it } from 'vitest';
import { GUEST_UP } from './boot-sector.ts';
import {
  type Outcome,
  states,
  VmConfigureRequested,
  verbs,
  VmCreateRequested,
  VmDeleteRequested,
  VmDescribeRequested,
  VmListRequested,
  VmPauseRequested,
  VmResumeRequested,
  VmScreenshotRequested,
  VmSnapshotRequested,
  VmStartRequested,
  VmStopRequested,
} from './events.ts';
import { isLegal, stateAfter } from './machine-states.ts';
import { type SimulatedManager, type SimulatedManagerOptions, simulatedManager } from './simulated-manager.ts';

const managers: SimulatedManager[] = [];
afterEach(async () => {
  for (const manager of managers.splice(0)) await manager.stop();
});

async function begin(options: SimulatedManagerOptions = {}): Promise<SimulatedManager> {
  const manager = await simulatedManager(options);
  managers.push(manager);
  return manager;
}

/** Asks, and lets time pass until there is an answer. */
async function ask<Answer>(manager: SimulatedManager, event: DefinedEvent<unknown, string, Answer>): Promise<Answer> {
  let answer: { readonly value: Answer } | { readonly error: unknown } | undefined;
  void manager.test.bus.request(event, { timeoutMs: 600_000 }).then(
    (value) => (answer = { value }),
    (error: unknown) => (answer = { error }),
  );
  await manager.test.settle();
  for (let passed = 0; answer === undefined && passed < 300; passed++) await manager.pass(1000);
  if (answer === undefined) throw new Error(`${event.type} has no answer after five minutes`);
  if ('error' in answer) throw answer.error;
  return answer.value;
}

const running = async (options: SimulatedManagerOptions = {}, config = {}): Promise<SimulatedManager> => {
  const manager = await begin(options);
  await ask(manager, VmCreateRequested({ vm: 'a', config }));
  await ask(manager, VmStartRequested({ vm: 'a' }));
  return manager;
};
const typesOf = (events: readonly Event[]): string[] =>
  events
    .map(({ type }) => type)
    .filter((type) => !/\.(requested|guest\.\w+|ended)$/.test(type) && !type.includes('.guest.'));
const stateOf = ({ records }: SimulatedManager): string => records.get('a').state;

describe('the state machine', () => {
  it('is the one that is written down', () => {
    const legal = verbs.map((verb) => `${verb}: ${states.filter((state) => isLegal(verb, state)).join(' ')}`);
    expect(legal).toEqual([
      'create: absent',
      'start: stopped crashed',
      'stop: running paused',
      'pause: running',
      'resume: paused',
      'reset: running',
      'configure: stopped running paused crashed',
      'snapshot: stopped running paused',
      'delete: stopped crashed',
    ]);
    expect(stateAfter('configure', 'crashed')).toBe('crashed');
  });

  it.each(states.flatMap((state) => verbs.map((verb) => [verb, state] as const)))(
    '%s while %s',
    async (verb, state) => {
      const manager = await begin();
      const prepare: Record<string, readonly Event[]> = {
        absent: [],
        stopped: [VmCreateRequested({ vm: 'a' })],
        running: [VmCreateRequested({ vm: 'a' }), VmStartRequested({ vm: 'a' })],
        paused: [VmCreateRequested({ vm: 'a' }), VmStartRequested({ vm: 'a' }), VmPauseRequested({ vm: 'a' })],
        crashed: [VmCreateRequested({ vm: 'a' }), VmStartRequested({ vm: 'a' })],
      };
      for (const event of prepare[state] ?? []) await manager.test.bus.publish(event);
      await manager.test.settle();
      if (state === 'crashed') manager.host.kill('a');
      await manager.test.settle();
      expect(stateOf(manager)).toBe(state);
      const data =
        verb === 'configure'
          ? { vm: 'a', change: { cpus: 2 } }
          : verb === 'snapshot'
            ? { vm: 'a', snapshot: 's' }
            : { vm: 'a' };
      const event = {
        specversion: '1.0',
        id: 'asked',
        source: '/test',
        type: `vm.${verb}.requested`,
        subject: 'a',
        data,
      } as const;
      const outcome = await ask(manager, event as DefinedEvent<unknown, string, Outcome>);
      const expected = isLegal(verb, state)
        ? { done: true, state: stateAfter(verb, state) }
        : { done: false, state, reason: { code: 'illegal' } };
      expect(outcome).toMatchObject(expected);
      const [fact, ...more] = (await manager.log()).filter(
        (one) => (one.data as { request?: unknown }).request === 'asked',
      );
      expect(more).toEqual([]);
      expect(fact?.type.endsWith('.failed')).toBe(!isLegal(verb, state));
    },
  );
});

describe('start', () => {
  it('is tried again when the host fails, and succeeds', async () => {
    const manager = await begin();
    await ask(manager, VmCreateRequested({ vm: 'a' }));
    manager.host.failingStarts = 2;
    expect(await ask(manager, VmStartRequested({ vm: 'a' }))).toEqual({ done: true, state: 'running' });
    const attempts = manager.test
      .attempts('machines.turns')
      .filter(({ stored }) => stored.event.type === 'vm.start.requested');
    expect(attempts.map(({ outcome }) => outcome)).toEqual(['retried', 'retried', 'handled']);
  });

  it('fails with the reason when every attempt did, and the machine is as before', async () => {
    const manager = await begin();
    await ask(manager, VmCreateRequested({ vm: 'a' }));
    manager.host.failingStarts = Infinity;
    await expect(ask(manager, VmStartRequested({ vm: 'a' }))).rejects.toMatchObject({
      code: 'CARILLON_REQUEST_FAILED',
    });
    await manager.test.settle();
    const failed = (await manager.log()).filter(({ type }) => type === 'vm.start.failed');
    expect(failed.map(({ data }) => data)).toMatchObject([{ state: 'stopped', reason: { code: 'host' } }]);
    expect(stateOf(manager)).toBe('stopped');
    manager.host.failingStarts = 0;
    expect((await ask(manager, VmStartRequested({ vm: 'a' }))).done).toBe(true);
  });

  it('leaves a host alone that keeps failing, and says so', async () => {
    const manager = await begin();
    manager.host.failingStarts = Infinity;
    for (const vm of ['a', 'b', 'c', 'd', 'e', 'f']) {
      await ask(manager, VmCreateRequested({ vm }));
      await manager.test.bus.publish(VmStartRequested({ vm }));
    }
    await manager.test.settle();
    const health = await manager.test.bus.health();
    expect(health.modules['machines']).toMatchObject({ healthy: false, detail: expect.stringContaining('left alone') });
    // While it rests nothing is tried; afterwards one start succeeds, and all is well.
    manager.host.failingStarts = 0;
    expect(manager.host.running.size).toBe(0);
    await manager.pass(60_000);
    expect(manager.host.running.size).toBe(6);
    expect((await manager.test.bus.health()).modules['machines']).toMatchObject({ healthy: true });
  });
});

describe('stop', () => {
  it('is by the guest within the deadline', async () => {
    const manager = await running({ shutdownMs: 9_000 });
    expect(await ask(manager, VmStopRequested({ vm: 'a' }))).toEqual({ done: true, state: 'stopped', forced: false });
  });

  it('becomes forced after the deadline, and not before', async () => {
    const manager = await running({ deaf: () => true });
    const startedMs = manager.clock.now();
    expect(await ask(manager, VmStopRequested({ vm: 'a', deadlineMs: 5_000 }))).toEqual({
      done: true,
      state: 'stopped',
      forced: true,
    });
    expect(manager.clock.now() - startedMs).toBeGreaterThanOrEqual(5_000);
    expect(manager.host.running.has('a')).toBe(false);
    expect((await manager.log()).find(({ type }) => type === 'vm.stopped')?.data).toMatchObject({ by: 'force' });
  });

  it('lets a paused guest hear the button', async () => {
    const manager = await running();
    await ask(manager, VmPauseRequested({ vm: 'a' }));
    expect(await ask(manager, VmStopRequested({ vm: 'a' }))).toMatchObject({ forced: false });
  });

  it('holds up only its own machine', async () => {
    const manager = await running({ deaf: () => true });
    await ask(manager, VmCreateRequested({ vm: 'b' }));
    await manager.test.bus.publish(VmStopRequested({ vm: 'a', deadlineMs: 60_000 }));
    await manager.test.bus.publish(VmStartRequested({ vm: 'b' }));
    await manager.test.settle();
    expect([stateOf(manager), manager.records.get('b').state]).toEqual(['running', 'running']);
    expect(await ask(manager, VmDescribeRequested({ vm: 'a' }))).toMatchObject({ state: 'running' });
    await manager.pass(70_000);
    expect(stateOf(manager)).toBe('stopped');
  });
});

describe('what machines do by themselves', () => {
  it.each([
    ['shutDown', 'stopped', ['vm.stopped']],
    ['kill', 'crashed', ['vm.crashed']],
    ['panic', 'crashed', ['vm.crashed']],
    ['pauseItself', 'paused', ['vm.paused']],
    ['resetItself', 'running', []],
  ] as const)('%s makes it %s', async (what, state, facts) => {
    const manager = await running();
    const before = (await manager.log()).length;
    manager.host[what]('a');
    await manager.test.settle();
    expect(stateOf(manager)).toBe(state);
    const after = (await manager.log()).slice(before);
    expect(typesOf(after)).toEqual(facts);
    expect(after.filter(({ type }) => /^vm\.(guest|process)\./.test(type)).length).toBeGreaterThan(0);
    expect(manager.host.running.has('a')).toBe(state === 'paused' || state === 'running');
  });

  it('restarts after a crash if it is to, three times, until somebody asks', async () => {
    const manager = await running({}, { onCrash: 'restart' });
    for (let crash = 1; crash <= 4; crash++) {
      manager.host.kill('a');
      await manager.test.settle();
      expect(stateOf(manager)).toBe(crash <= 3 ? 'running' : 'crashed');
    }
    await ask(manager, VmStartRequested({ vm: 'a' }));
    manager.host.kill('a');
    await manager.test.settle();
    expect(stateOf(manager)).toBe('running');
  });

  it('is found by the reconciler when nobody was there to hear it', async () => {
    const manager = await running();
    await manager.test.settle();
    manager.kill();
    manager.host.kill('a');
    await manager.start();
    await manager.test.settle();
    expect(stateOf(manager)).toBe('crashed');
    expect((await manager.log()).filter(({ type }) => type === 'vm.crashed')).toHaveLength(1);
  });

  it('is not touched by a new manager when nothing has happened', async () => {
    const manager = await running();
    const { run } = manager.records.get('a');
    manager.kill();
    await manager.start();
    await manager.test.settle();
    expect(manager.host.running.get('a')?.run).toBe(run);
    expect(manager.host.doubled).toBe(0);
    // It is listened to again.
    manager.host.kill('a');
    await manager.test.settle();
    expect(stateOf(manager)).toBe('crashed');
  });
});

describe('a machine that does not answer', () => {
  it('fails what is asked of it, and keeps its state', async () => {
    const manager = await running();
    manager.host.fallSilent('a');
    await expect(ask(manager, VmPauseRequested({ vm: 'a' }))).rejects.toMatchObject({
      code: 'CARILLON_REQUEST_FAILED',
    });
    await manager.test.settle();
    const failed = (await manager.log()).find(({ type }) => type === 'vm.pause.failed');
    expect(failed?.data).toMatchObject({ state: 'running', reason: { code: 'host' } });
    expect(stateOf(manager)).toBe('running');
  });

  it('can be stopped by force', async () => {
    const manager = await running();
    manager.host.fallSilent('a');
    expect(await ask(manager, VmStopRequested({ vm: 'a' }))).toEqual({ done: true, state: 'stopped', forced: true });
    expect(manager.host.running.has('a')).toBe(false);
  });
});

describe('configure', () => {
  it('says what is changed now and what at the next start, which then has it', async () => {
    const manager = await running({}, { cpus: 4 });
    const outcome = await ask(manager, VmConfigureRequested({ vm: 'a', change: { cpus: 2, memoryMiB: 128 } }));
    expect(outcome.configured).toEqual({ now: ['memoryMiB'], atNextStart: ['cpus'] });
    expect(manager.host.running.get('a')?.config).toMatchObject({ cpus: 4, memoryMiB: 128 });
    await ask(manager, VmStopRequested({ vm: 'a' }));
    await ask(manager, VmStartRequested({ vm: 'a' }));
    expect(manager.host.running.get('a')?.config).toMatchObject({ cpus: 2, memoryMiB: 128 });
  });

  it('refuses what cannot be, and changes nothing', async () => {
    const manager = await running({}, { disks: [{ name: 'd', sizeMiB: 8 }] });
    const change = { cpus: 2, disks: [{ name: 'd', sizeMiB: 9 }] };
    const outcome = await ask(manager, VmConfigureRequested({ vm: 'a', change }));
    expect(outcome).toMatchObject({ done: false, reason: { code: 'refused' } });
    expect(manager.records.get('a').config.cpus).toBe(1);
  });
});

describe('snapshot', () => {
  it('is refused under a name that is taken, and beyond its bound', async () => {
    const manager = await running();
    expect(await ask(manager, VmSnapshotRequested({ vm: 'a', snapshot: 's' }))).toMatchObject({ done: true });
    expect(await ask(manager, VmSnapshotRequested({ vm: 'a', snapshot: 's' }))).toMatchObject({ done: false });
    for (let index = 1; index < 32; index++)
      await ask(manager, VmSnapshotRequested({ vm: 'a', snapshot: `s-${index}` }));
    expect(await ask(manager, VmSnapshotRequested({ vm: 'a', snapshot: 'more' }))).toMatchObject({
      done: false,
      reason: { code: 'refused', message: 'there are 32 snapshots already' },
    });
  });
});

describe('the inventory', () => {
  it('lists by name, a page at a time, without what was deleted', async () => {
    const manager = await running();
    for (const vm of ['c', 'b']) await ask(manager, VmCreateRequested({ vm }));
    await ask(manager, VmCreateRequested({ vm: 'd' }));
    await ask(manager, VmDeleteRequested({ vm: 'd' }));
    expect((await ask(manager, VmListRequested({}))).map(({ vm, state }) => [vm, state])).toEqual([
      ['a', 'running'],
      ['b', 'stopped'],
      ['c', 'stopped'],
    ]);
    expect((await ask(manager, VmListRequested({ after: 'a', limit: 1 }))).map(({ vm }) => vm)).toEqual(['b']);
  });

  it('describes a machine with its console, and has a picture of its screen while it runs', async () => {
    const manager = await running();
    expect(await ask(manager, VmDescribeRequested({ vm: 'a' }))).toMatchObject({
      state: 'running',
      console: expect.stringContaining(GUEST_UP),
    });
    const picture = await ask(manager, VmScreenshotRequested({ vm: 'a' }));
    expect(
      Buffer.from(picture?.pngBase64 ?? '', 'base64')
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG');
    await ask(manager, VmStopRequested({ vm: 'a' }));
    expect(await ask(manager, VmScreenshotRequested({ vm: 'a' }))).toBeNull();
    expect(await ask(manager, VmDescribeRequested({ vm: 'none' }))).toBeNull();
  });
});

it('answers a request that is published again only once', async () => {
  const manager = await running();
  const pause = VmPauseRequested({ vm: 'a' });
  await manager.test.bus.publish(pause);
  await manager.test.settle();
  await ask(manager, VmResumeRequested({ vm: 'a' }));
  expect(await manager.test.bus.publish(pause)).toMatchObject({ duplicate: true });
  await manager.test.settle();
  expect(stateOf(manager)).toBe('running');
});
