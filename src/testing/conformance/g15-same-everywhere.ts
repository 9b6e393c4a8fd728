import {
  defineModule,
  exponential,
  fixed,
  type Event,
  type HandlerContext,
  type HandlerOptions,
  type Module,
  type Strategy,
} from '../../core/index.ts';
import { memory, memoryLog, type MemoryLog } from '../../engines/memory/index.ts';
import { holds, same } from './check.ts';
import { conformanceCase, happened, runCase, type ConformanceCase, type EnginePlace, type Kit } from './kit.ts';

/**
 * What a script leaves behind, in parts that have an order of their own: the attempts of each event with their moments
 * and ends, the order in which each key was handled, and how everything stood in the end. Between events of different
 * keys at one moment there is no order that an engine would have to keep.
 */
type Trace = Record<string, unknown[]>;

/** Ends each attempt as the event's data says: `outcomes[attempt - 1]`, well when there is none. */
async function scripted(kit: Kit, event: Event, context: HandlerContext): Promise<unknown> {
  const { outcomes = [] } = event.data as { outcomes?: readonly string[] };
  switch (outcomes[context.attempt - 1]) {
    case 'throw':
      throw new Error(`${event.id} at attempt ${context.attempt}`);
    case 'later':
      return context.retryLater(2500);
    case 'give-up':
      return context.giveUp('scripted');
    case 'hang':
      return new Promise(() => undefined);
    case 'slow':
      return new Promise<void>((resolve) => kit.clock.setTimer(300, resolve));
    case 'publish':
      return context.publish(happened(`of-${event.id}`, { key: event.subject ?? 'none', type: 'thing.followed' }));
    default:
      return undefined;
  }
}

const scripts: readonly (readonly string[])[] = [
  [],
  ['throw'],
  ['throw', 'later', 'throw'],
  ['give-up'],
  ['hang'],
  ['slow'],
  ['publish'],
  ['throw', 'throw', 'throw', 'throw'],
  ['later', 'publish'],
  ['slow', 'throw'],
];

const strategies: Readonly<Record<string, HandlerOptions>> = {
  key: { retry: exponential({ initialMs: 100, attemptsMax: 4, jitter: 'none' }), concurrency: 100 },
  hold: { retry: fixed({ delayMs: 500, attemptsMax: 2 }), onDead: 'hold', concurrency: 100 },
  total: { order: 'total', retry: fixed({ delayMs: 50, attemptsMax: 3 }) },
  none: {
    order: 'none',
    retry: fixed({ delayMs: 700, attemptsMax: 3 }),
    concurrency: 100,
    expiry: { maxAgeMs: 60_000 },
  },
  filtered: { filter: { any: [{ exact: { subject: 'k1' } }, { suffix: { type: 'followed' } }] } },
};

function modules(kit: Kit): readonly Module[] {
  return Object.entries(strategies).map(([name, options]) =>
    defineModule(name, (m) =>
      m.handle('thing.>', (event, context) => scripted(kit, event, context), {
        timeoutMs: 1000,
        from: 'beginning',
        ...options,
        name: 'h',
      }),
    ),
  );
}

/** Publishes, lets time pass, restarts, redrives: everything whose outcome a strategy decides. */
async function play(kit: Kit, trace: Trace): Promise<void> {
  const add = (part: string, line: unknown): void => void (trace[part] ??= []).push(line);
  const tell = (): void => {
    for (const one of kit.observations) {
      if (one.kind !== 'delivery-end') continue;
      const { subscription, stored, attempt, outcome, error, latencyMs, durationMs } = one;
      const { id, subject, type } = stored.event;
      add(`${subscription} ${id}`, [attempt, outcome, error?.message ?? null, latencyMs, durationMs]);
      const ordered = type === 'thing.happened' && outcome === 'handled';
      if (ordered && subscription === 'total.h') add('total.h in order', id);
      else if (ordered && subscription !== 'none.h' && subject) add(`${subscription} key ${subject} in order`, id);
    }
  };
  const limits = { abortGraceMs: 200 };
  await kit.start(modules(kit), { limits });
  for (const [n, outcomes] of scripts.entries()) {
    await kit.bus.publish(happened(`first${n}`, { key: `k${n % 3}`, data: { outcomes } }));
    await kit.advance(100);
  }
  await kit.bus.publish(scripts.map((outcomes, n) => happened(`second${n}`, { data: { outcomes } })));
  await kit.advance(5000);
  await kit.bus.publish(happened('scheduled', { key: 'k1' }), { delayMs: 1500 });
  await kit.advance(4000);
  await kit.stop();
  tell();
  await kit.start(modules(kit), { limits });
  for (const [n, outcomes] of scripts.entries()) {
    await kit.bus.publish(happened(`third${n}`, { key: `k${n % 3}`, data: { outcomes } }));
  }
  await kit.advance(3000);
  for (const subscription of ['hold.h', 'total.h']) {
    add(`${subscription} redriven`, await kit.bus.deadLetters.redrive({ subscription }, { data: {} }));
    await kit.advance(1000);
  }
  await kit.advance(120_000);
  tell();
  for (const { name, lag, retrying, held, dead, handled, failed, expired } of await kit.bus.subscriptions()) {
    add(`${name} in the end`, { lag, retrying, held, dead, handled, failed, expired });
  }
  for (const { subscription, event, attempts, attemptCount, holds: holding } of await kit.bus.deadLetters.list({
    limit: 1000,
  })) {
    const record = attempts.map(({ attempt, atMs, error }) => [attempt, atMs, error.message]);
    add(`${subscription} ${event.id} dead`, [attemptCount, holding, record]);
  }
  add('log', (await kit.log()).map(({ id }) => id).sort());
}

/** The same played on the memory engine, which every other one must agree with. */
async function golden(play: (kit: Kit) => Promise<void>): Promise<void> {
  const { capabilities } = memory();
  await runCase(
    { name: 'memory', capabilities, open: memoryPlace },
    conformanceCase('golden', 'the script on the memory engine', play),
  );
}

function memoryPlace(): EnginePlace {
  const log: MemoryLog = memoryLog();
  return { open: () => memory(log), crash: () => Promise.resolve(), dispose: () => Promise.resolve() };
}

/** Each strategy, and the same with its options written in reverse order. */
const written: readonly Strategy[] = [
  {
    order: 'key',
    concurrency: 2,
    retry: fixed({ delayMs: 300, attemptsMax: 2 }),
    timeoutMs: 900,
    onDead: 'hold',
    deadLetter: 'keep',
    expiry: { maxAgeMs: 50_000 },
  },
  {
    order: 'none',
    concurrency: { all: 3, perKey: 2 },
    retry: exponential({ initialMs: 40, factor: 3, attemptsMax: 3, jitter: 'none' }),
    timeoutMs: 700,
    deadLetter: 'discard',
  },
  {
    order: 'total',
    retry: { kind: 'list', delaysMs: [10, 20], never: ['TypeError'] },
    timeoutMs: 500,
    expiry: { maxAgeMs: 10_000 },
  },
];

const reversed = <T extends object>(options: T): T =>
  Object.fromEntries(
    Object.entries(options)
      .reverse()
      .map(([name, value]: [string, unknown]) => [
        name,
        typeof value === 'object' && value !== null && !Array.isArray(value) ? reversed(value) : value,
      ]),
  ) as T;

async function playOne(kit: Kit, strategy: Strategy): Promise<readonly unknown[]> {
  const trace: unknown[] = [];
  const startMs = kit.clock.now();
  const name = `at-${startMs}`;
  const module = defineModule('suite', (m) =>
    m.handle('thing.>', (event, context) => scripted(kit, event, context), { ...strategy, name }),
  );
  await kit.start([module], { limits: { abortGraceMs: 100 } });
  await kit.bus.publish(
    scripts.map((outcomes, n) => happened(`e${n}-${startMs}`, { key: `k${n % 2}`, data: { outcomes } })),
  );
  await kit.advance(20_000);
  for (const one of kit.observations) {
    if (one.kind === 'delivery-end')
      trace.push([one.stored.event.id.split('-')[0], one.attempt, one.outcome, one.durationMs]);
  }
  const { retrying, held, dead, handled, failed, expired } = await kit.state(`suite.${name}`);
  trace.push({ retrying, held, dead, handled, failed, expired });
  await kit.stop();
  return trace;
}

/** G15: one handler with one strategy behaves the same on every engine. */
export const g15: readonly ConformanceCase[] = [
  conformanceCase(
    'G15-1',
    'one script of handlers, failures, time and restarts gives one trace on every engine',
    async (kit) => {
      const expected: Trace = {};
      await golden((onMemory) => play(onMemory, expected));
      const trace: Trace = {};
      await play(kit, trace);
      holds(Object.keys(expected).length > 150, `the script is worth playing: ${Object.keys(expected).length} parts`);
      same(Object.keys(trace).sort(), Object.keys(expected).sort(), 'parts of the trace');
      for (const [part, lines] of Object.entries(expected)) same(trace[part], lines, `the trace of ${part}`);
    },
  ),

  conformanceCase('G15-2', 'the order in which options are written never matters', async (kit) => {
    for (const strategy of written) {
      const turned = reversed(strategy);
      holds(Object.keys(turned)[0] !== Object.keys(strategy)[0], 'the options are in another order');
      same(await playOne(kit, turned), await playOne(kit, strategy), `the trace of ${JSON.stringify(strategy)}`);
    }
  }),

  conformanceCase('G15-3', 'a strategy replaced by configuration is the one that counts', async (kit) => {
    const calls: number[] = [];
    const module = defineModule('suite', (m) =>
      m.handle(
        '>',
        (_event, { attempt }) => {
          calls.push(attempt);
          throw new Error('always');
        },
        { name: 'h', retry: fixed({ delayMs: 10, attemptsMax: 2 }) },
      ),
    );
    await kit.start([module], { strategies: { 'suite.h': { retry: fixed({ delayMs: 10, attemptsMax: 4 }) } } });
    await kit.bus.publish(happened('e'));
    await kit.advance(1000);
    same(calls, [1, 2, 3, 4], 'attempts');
  }),
];
