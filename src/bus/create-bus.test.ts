import { describe, expect, it } from 'vitest';
import {
  carillonError,
  defineEvent,
  defineModule,
  makeEvent,
  silentLogger,
  type Bus,
  type Event,
  type Limits,
  type Logger,
  type ModuleOptions,
  type Observation,
  type PublishOptions,
} from '../core/index.ts';
import type { Engine, EngineHost } from '../engine/index.ts';
import { memory, memoryLog } from '../engines/memory/index.ts';
import { fakeClock, type FakeClock } from '../testing/index.ts';
import { createBus, type BusOptions } from './create-bus.ts';

const happened = (id: string, type = 'thing.happened', data: unknown = null): Event =>
  makeEvent({ specversion: '1.0', id, source: '/s', type }, data);

interface Started {
  readonly bus: Bus;
  readonly clock: FakeClock;
  readonly engine: Engine;
  /** What the engine was given by the bus. */
  readonly host: EngineHost;
  readonly lines: string[];
}

async function started(options: Partial<BusOptions> = {}): Promise<Started> {
  const clock = fakeClock();
  const engine = options.engine ?? memory();
  const open = engine.open.bind(engine);
  let host: EngineHost | undefined;
  engine.open = (given) => open((host = given));
  const lines: string[] = [];
  const line = (message: string): void => void lines.push(message);
  const log: Logger = { ...silentLogger, error: line, info: line, child: () => log };
  const bus = await createBus({ clock, log, ...options, engine });
  return { bus, clock, engine, host: host as EngineHost, lines };
}

const failing = (message: string) => (): never => {
  throw new Error(message);
};

/** Modules that tell when they start and stop. */
function modules(...given: readonly (readonly [string, ModuleOptions?])[]) {
  const told: string[] = [];
  const made = given.map(([name, options = {}]) =>
    defineModule(name, {
      ...options,
      onStart: async (context) => {
        await Promise.resolve();
        told.push(`start ${name}`);
        await options.onStart?.(context);
      },
      onStop: async (context) => {
        await Promise.resolve();
        told.push(`stop ${name}`);
        await options.onStop?.(context);
      },
    }),
  );
  return { told, made };
}

describe('starting and stopping', () => {
  it('modules start after those they depend on, and stop in reverse', async () => {
    const { told, made } = modules(['c', { dependsOn: ['b'] }], ['b', { dependsOn: ['a'] }], ['a']);
    const { bus } = await started({ modules: made });
    await bus.stop();
    await bus.stop();
    expect(told).toEqual(['start a', 'start b', 'start c', 'stop c', 'stop b', 'stop a']);
    expect((await bus.health()).status).toBe('stopped');
  });

  it('a module stops after its handlers have ended', async () => {
    const told: string[] = [];
    let end = (): void => undefined;
    const module = defineModule('m', {
      setup: (m) =>
        m.handle(
          '>',
          async () => {
            await new Promise<void>((resolve) => (end = resolve));
            told.push('handled');
          },
          { name: 'h' },
        ),
      onStop: () => void told.push('stopped'),
    });
    const { bus, clock } = await started({ modules: [module] });
    await bus.publish(happened('e'));
    await clock.settle();
    const stopping = bus.stop();
    await clock.settle();
    expect(told).toEqual([]);
    end();
    await stopping;
    expect(told).toEqual(['handled', 'stopped']);
  });

  it('a start that fails stops what was started, and gives the engine free', async () => {
    const place = memoryLog();
    const { told, made } = modules(['a'], ['b', { onStart: failing('no network') }], ['c']);
    await expect(started({ modules: made, engine: memory(place) })).rejects.toThrow('no network');
    expect(told.slice(0, 3)).toEqual(['start a', 'start b', expect.stringContaining('stop')]);
    expect(told).toContain('stop a');
    expect(told).not.toContain('start c');
    expect(place.inUse).toBe(false);
  });

  it('the first failure is told although stopping fails too', async () => {
    const { made } = modules(['a', { onStop: failing('stuck') }], ['b', { onStart: failing('no network') }]);
    await expect(started({ modules: made })).rejects.toThrow('no network');
  });

  it('one stop hook that fails does not keep the others from running', async () => {
    const place = memoryLog();
    const { told, made } = modules(['a'], ['b', { onStop: failing('stuck') }], ['c']);
    const { bus } = await started({ modules: made, engine: memory(place) });
    await expect(bus.stop()).rejects.toThrow('stuck');
    expect([told.slice(3), place.inUse]).toEqual([['stop c', 'stop b', 'stop a'], false]);
  });

  it('sync handlers of all modules are there before the first one starts', async () => {
    const seen: string[] = [];
    const first = defineModule('first', { onStart: ({ bus }) => bus.publish(happened('early')) });
    const second = defineModule('second', (m) => m.handleSync('>', ({ id }) => void seen.push(id), { name: 's' }));
    const { bus } = await started({ modules: [first, second] });
    await bus.stop();
    expect(seen).toEqual(['early']);
  });

  it('a strategy for a name nobody subscribes is refused, and nothing is opened', async () => {
    const place = memoryLog();
    const module = defineModule('m', (m) => m.handle('>', () => undefined, { name: 'h' }));
    const starting = started({ modules: [module], engine: memory(place), strategies: { 'm.other': {} } });
    await expect(starting).rejects.toMatchObject({
      code: 'CARILLON_SUBSCRIPTION_UNKNOWN',
      details: { subscription: 'm.other' },
    });
    expect(place.inUse).toBe(false);
  });

  it('a strategy of the configuration replaces options of the code, one by one', async () => {
    const module = defineModule('m', (m) =>
      m.handle('>', () => undefined, { name: 'h', timeoutMs: 5, concurrency: 3 }),
    );
    const { bus } = await started({ modules: [module], strategies: { 'm.h': { timeoutMs: 9 } } });
    expect((await bus.subscriptions())[0]?.strategy).toEqual({ timeoutMs: 9, concurrency: 3 });
    await bus.stop();
    const wrong = started({ modules: [module], strategies: { 'm.h': { timeoutMs: -1 } } });
    await expect(wrong).rejects.toMatchObject({ code: 'CARILLON_STRATEGY_INVALID' });
  });

  it.each([
    ['two definitions of a type', { events: [defineEvent('x'), defineEvent('x')] }, 'CARILLON_TYPE_CONFLICT'],
    ['an unknown limit', { limits: { no: 1 } as Partial<Limits> }, 'CARILLON_OPTION_INVALID'],
    [
      'a transaction the engine lacks',
      { modules: [defineModule('m', (m) => m.handle('>', () => 1, { name: 'h', transaction: true }))] },
      'CARILLON_UNSUPPORTED',
    ],
  ])('%s is refused', async (_what, options, code) => {
    await expect(started(options)).rejects.toMatchObject({ code });
  });

  it('is stopped by the end of its scope', async () => {
    const { bus } = await started();
    await bus[Symbol.asyncDispose]();
    await expect(bus.publish(happened('e'))).rejects.toMatchObject({ code: 'CARILLON_STOPPED' });
  });

  it('past its deadline aborts handlers, closes everything and says so', async () => {
    const place = memoryLog();
    let signal: AbortSignal | undefined;
    const module = defineModule('m', (m) =>
      m.handle(
        '>',
        (_event, context) => {
          ({ signal } = context);
          return new Promise(() => undefined);
        },
        { name: 'h' },
      ),
    );
    const { bus, clock } = await started({ modules: [module], engine: memory(place) });
    await bus.publish(happened('e'));
    await clock.settle();
    const stopping = bus.stop({ deadlineMs: 100 }).catch((error: unknown) => error);
    await clock.advance(100);
    expect(await stopping).toMatchObject({ code: 'CARILLON_DRAIN_TIMEOUT', details: { deadlineMs: 100 } });
    expect([signal?.reason, place.inUse]).toMatchObject([{ code: 'CARILLON_STOPPED' }, false]);
  });
});

describe('publishing', () => {
  it.each<[string, PublishOptions]>([
    ['delayMs and at', { delayMs: 1, at: 5 }],
    ['a negative delay', { delayMs: -1 }],
    ['a delay without end', { delayMs: Infinity }],
    ['a moment that is none', { at: 'tomorrow' }],
    ['a date that is none', { at: new Date('no date') }],
  ])('refuses %s', async (_what, options) => {
    const { bus } = await started();
    await expect(bus.publish(happened('e'), options)).rejects.toMatchObject({ code: 'CARILLON_OPTION_INVALID' });
    await bus.stop();
  });

  it.each<[string, (nowMs: number) => PublishOptions]>([
    ['a delay', () => ({ delayMs: 500 })],
    ['a date', (nowMs) => ({ at: new Date(nowMs + 500) })],
    ['a number', (nowMs) => ({ at: nowMs + 500.2 })],
    ['a text', (nowMs) => ({ at: new Date(nowMs + 500).toISOString() })],
  ])('schedules by %s', async (_what, optionsAt) => {
    const { bus, clock } = await started();
    const nowMs = clock.now();
    const published = await bus.publish(happened('e'), optionsAt(nowMs));
    expect(published).toEqual({ id: 'e', position: null, duplicate: false, scheduledMs: nowMs + 500 });
    expect(await bus.cancelScheduled('/s', 'e')).toBe(true);
    expect(await bus.cancelScheduled('/s', 'e')).toBe(false);
    await bus.stop();
  });

  it('refuses a batch that is too large, and one with a delay', async () => {
    const { bus } = await started({ limits: { batchEventsMax: 2 } });
    const three = ['1', '2', '3'].map((id) => happened(id));
    await expect(bus.publish(three)).rejects.toMatchObject({
      code: 'CARILLON_BATCH_TOO_LARGE',
      details: { limit: 'batchEventsMax', size: 3 },
    });
    await expect(bus.publish(three.slice(1), { delayMs: 1 })).rejects.toMatchObject({
      code: 'CARILLON_SCHEDULED_IN_BATCH',
    });
    expect(await bus.publish([])).toEqual([]);
    expect((await bus.publish(three.slice(1))).map(({ position }) => position)).toEqual([1, 2]);
    await bus.stop();
  });

  it('gives what a sync handler adds no place in the results', async () => {
    const module = defineModule('m', (m) =>
      m.handleSync('thing.happened', ({ id }, { publish }) => publish(happened(`${id}+`, 'thing.added')), {
        name: 's',
      }),
    );
    const { bus } = await started({ modules: [module] });
    expect(await bus.publish([happened('a'), happened('b')])).toMatchObject([
      { id: 'a', position: 1 },
      { id: 'b', position: 2 },
    ]);
    expect(await bus.publish(happened('c'))).toMatchObject({ id: 'c', position: 5 });
    expect((await bus.ends()).last).toBe(6);
    await bus.stop();
  });

  it('still works for handlers while the bus stops', async () => {
    const place = memoryLog();
    let go = (): void => undefined;
    const outcome: unknown[] = [];
    const module = defineModule('m', (m) =>
      m.handle(
        'thing.happened',
        async () => {
          await new Promise<void>((resolve) => (go = resolve));
          outcome.push(await bus.publish(happened('late', 'thing.late')));
        },
        { name: 'h' },
      ),
    );
    const { bus, clock } = await started({ modules: [module], engine: memory(place) });
    await bus.publish(happened('e'));
    await clock.settle();
    const stopping = bus.stop();
    go();
    await stopping;
    expect(outcome).toMatchObject([{ id: 'late', position: 2 }]);
  });
});

describe('requests', () => {
  const Ask = defineEvent('question.asked');

  it('are answered by a handler that names the type', async () => {
    const module = defineModule('m', (m) => {
      m.handle(Ask, () => 42, { name: 'h' });
      m.handle('>', () => 'a pattern does not answer', { name: 'all' });
    });
    const { bus } = await started({ modules: [module] });
    expect(await bus.request(Ask(undefined))).toBe(42);
    await bus.stop();
  });

  it('are answered by a sync handler before any other', async () => {
    const module = defineModule('m', (m) => {
      m.handleSync(Ask, () => 'at once', { name: 's' });
      m.handle(Ask, () => 'later', { name: 'h' });
    });
    const { bus } = await started({ modules: [module] });
    expect(await bus.request(Ask(undefined))).toBe('at once');
    await bus.stop();
  });

  it('fail at once when nobody would answer', async () => {
    const filtered = defineModule('m', (m) =>
      m.handle(Ask, () => 1, { name: 'h', filter: { exact: { subject: 'x' } } }),
    );
    const { bus } = await started({ modules: [filtered] });
    await expect(bus.request(Ask(undefined))).rejects.toMatchObject({ code: 'CARILLON_NO_RESPONDER' });
    expect((await bus.ends()).last).toBe(0);
    await bus.stop();
  });

  it('fail as the publish does', async () => {
    const module = defineModule('m', (m) => {
      m.handleSync(Ask, failing('not you'), { name: 's' });
      m.handle(Ask, () => 1, { name: 'h' });
    });
    const { bus } = await started({ modules: [module] });
    await expect(bus.request(Ask(undefined))).rejects.toMatchObject({ code: 'CARILLON_REFUSED' });
    await bus.stop();
  });

  it('fail when the bus stops', async () => {
    const hangs = defineModule('m', (m) => m.handle(Ask, () => new Promise(() => undefined), { name: 'h' }));
    const { bus, clock } = await started({ modules: [hangs] });
    const asking = bus.request(Ask(undefined)).catch((error: unknown) => error);
    await clock.settle();
    const stopping = bus.stop({ deadlineMs: 0 }).catch(() => undefined);
    expect(await asking).toMatchObject({ code: 'CARILLON_STOPPED' });
    await clock.advance(1);
    await stopping;
  });
});

describe('observing', () => {
  it('tells what happens while it goes on, and survives an observer that throws', async () => {
    const { bus, lines } = await started();
    const seen: Observation[] = [];
    bus.observe(failing('observer broken'));
    const end = bus.observe((observation) => seen.push(observation));
    await bus.publish(happened('a'));
    await bus.publish(happened('a'));
    await bus.publish([happened('b'), happened('c')]);
    end();
    await bus.publish(happened('d'));
    expect(seen.map((one) => (one.kind === 'published' ? [one.event.id, one.position] : one.kind))).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ]);
    expect(lines).toContain('an observer threw');
    await bus.stop();
  });
});

describe('health', () => {
  it('is that of the modules', async () => {
    let healthy = true;
    const module = defineModule('m', { onHealth: () => ({ healthy, detail: 'as told' }) });
    const broken = defineModule('broken', { onHealth: () => (healthy ? { healthy } : failing('cannot say')()) });
    const { bus } = await started({ modules: [module, broken] });
    expect(await bus.health()).toMatchObject({ status: 'ready', engine: 'memory', reasons: [] });
    healthy = false;
    expect(await bus.health()).toEqual({
      status: 'degraded',
      engine: 'memory',
      reasons: ['module m is unhealthy: as told', 'module broken is unhealthy: cannot say'],
      modules: { m: { healthy: false, detail: 'as told' }, broken: { healthy: false, detail: 'cannot say' } },
    });
    await bus.stop();
  });

  it('is degraded while the storage is full', async () => {
    const { bus, host } = await started();
    const seen: Observation[] = [];
    bus.observe((observation) => seen.push(observation));
    host.onStorageFull(true);
    expect(await bus.health()).toMatchObject({ status: 'degraded', reasons: ['the storage is full'] });
    host.onStorageFull(false);
    expect((await bus.health()).status).toBe('ready');
    expect(seen).toEqual([
      { kind: 'storage-full', full: true },
      { kind: 'storage-full', full: false },
    ]);
    await bus.stop();
  });

  it('has failed with the engine, which everything then says', async () => {
    const { bus, host } = await started();
    const seen: Observation[] = [];
    bus.observe((observation) => seen.push(observation));
    const error = carillonError('CARILLON_ENGINE_FAILED', 'the disk is gone');
    host.onFailure(error);
    expect(await bus.health()).toMatchObject({ status: 'failed', reasons: ['the disk is gone'] });
    await expect(bus.publish(happened('e'))).rejects.toBe(error);
    await expect(bus.drain()).rejects.toBe(error);
    expect(seen).toEqual([{ kind: 'engine-failed', error }]);
    await bus.stop();
    expect((await bus.health()).status).toBe('stopped');
  });
});

describe('subscribing on the running bus', () => {
  it('delivers until it is stopped, and goes on where it was', async () => {
    const { bus, clock } = await started();
    const seen: string[] = [];
    const handle = ({ id }: Event): void => void seen.push(id);
    await bus.publish(happened('before'));
    const first = await bus.subscribe('thing.>', handle, { name: 'live', from: 'beginning' });
    expect(first.name).toBe('live');
    await bus.drain();
    await first.stop();
    await bus.publish(happened('meanwhile'));
    await clock.settle();
    expect([seen, await bus.subscriptions()]).toEqual([['before'], []]);
    await bus.subscribe('thing.>', handle, { name: 'live', from: 'now' });
    await bus.drain();
    expect(seen).toEqual(['before', 'meanwhile']);
    await bus.stop();
  });

  it('is refused twice under one name, and with options that cannot be meant', async () => {
    const { bus } = await started();
    await bus.subscribe('>', () => undefined, { name: 'live' });
    await expect(bus.subscribe('>', () => undefined, { name: 'live' })).rejects.toMatchObject({
      code: 'CARILLON_SUBSCRIPTION_CONFLICT',
    });
    const options = { name: 'other', from: 'yesterday' as 'now' };
    await expect(bus.subscribe('>', () => undefined, options)).rejects.toMatchObject({
      code: 'CARILLON_OPTION_INVALID',
    });
    await bus.stop();
  });

  it('ends with the bus', async () => {
    const { bus } = await started();
    const { stop } = await bus.subscribe('>', () => undefined, { name: 'live' });
    await bus.stop();
    await expect(stop()).resolves.toBeUndefined();
  });
});

describe('draining', () => {
  it('waits for what is in the log, and no longer than its deadline', async () => {
    let end = (): void => undefined;
    const module = defineModule('m', (m) =>
      m.handle('>', () => new Promise<void>((resolve) => (end = resolve)), { name: 'h' }),
    );
    const { bus, clock } = await started({ modules: [module] });
    await bus.publish(happened('e'));
    await clock.settle();
    const late = bus.drain({ deadlineMs: 50 }).catch((error: unknown) => error);
    await clock.advance(50);
    expect(await late).toMatchObject({ code: 'CARILLON_DRAIN_TIMEOUT', details: { deadlineMs: 50 } });
    const drained = bus.drain({ deadlineMs: 50 });
    await clock.settle();
    end();
    await drained;
    await bus.stop();
    expect(clock.timers).toBe(0);
  });
});

describe('the state of a subscription', () => {
  it('counts what became of its events', async () => {
    const module = defineModule('m', (m) => {
      const Described = defineEvent('thing.happened', { description: 'Something happened' });
      m.handle(Described, ({ id }, context) => (id === 'bad' ? context.giveUp('no') : undefined), { name: 'h' });
    });
    const { bus } = await started({ modules: [module] });
    await bus.publish([happened('good'), happened('bad')]);
    await bus.drain();
    expect(await bus.subscriptions()).toMatchObject([
      {
        name: 'm.h',
        target: 'thing.happened',
        description: 'Something happened',
        position: 2,
        lag: 0,
        handled: 1,
        failed: 1,
        dead: 1,
        running: 0,
        waiting: 0,
        stalled: false,
      },
    ]);
    await bus.stop();
  });
});
