import { describe, expect, it } from 'vitest';
import {
  carillonError,
  defaultLimits,
  fixed,
  makeEvent,
  resolveStrategy,
  silentLogger,
  type AttemptRecord,
  type Event,
  type Handler,
  type HandlerContext,
  type Limits,
  type Observation,
  type Strategy,
} from '../core/index.ts';
import type { Delivery, Demand, Engine, EngineSubscription, Outcome, Settlement } from '../engine/index.ts';
import { fakeClock } from '../testing/index.ts';
import { Dispatcher } from './dispatcher.ts';
import { Runner } from './runner.ts';
import type { DispatchHost, HandlerSpec } from './subscription.ts';

interface Given {
  readonly key?: string | null;
  readonly attempts?: number;
  readonly begun?: boolean;
  readonly crashed?: boolean;
  readonly recordedMs?: number;
  readonly expirytime?: string;
}

/** An engine's subscription, played by the test: hands out what it is told to, and remembers what it is asked for. */
class Script {
  readonly clock = fakeClock();
  readonly demands: Demand[] = [];
  readonly settled: string[] = [];
  readonly settlements: Settlement[] = [];
  readonly begins: number[][] = [];
  readonly together: { positions: number[]; events: string[] }[] = [];
  readonly counted: (() => void)[] = [];
  /** Whether the test itself lets attempts be counted. */
  countsByHand = false;
  settleWithError: Error | null = null;
  take: ((deliveries: readonly Delivery[]) => void) | null = null;
  pulled: { resolve: () => void; reject: (error: Error) => void } | null = null;
  closed = false;
  /** Whether the lease is sure. */
  leased = true;

  readonly source = Object.defineProperty(
    {
      hold: () => undefined,
      pull: (demand: Demand, take: (deliveries: readonly Delivery[]) => void) => {
        if (this.closed) return Promise.resolve();
        this.demands.push(demand);
        this.take = take;
        return new Promise<void>((resolve, reject) => {
          this.pulled = { resolve, reject };
        });
      },
      begin: async (deliveries: readonly Delivery[]) => {
        this.begins.push(deliveries.map(({ position }) => position));
        if (this.countsByHand) await new Promise<void>((resolve) => this.counted.push(resolve));
        for (const delivery of deliveries) {
          Object.assign(delivery, { begun: true, attempts: delivery.attempts + 1 });
        }
      },
      settle: (delivery: Delivery, settlement: Settlement) => {
        this.settled.push(`${delivery.position} ${settlement.type}`);
        this.settlements.push(settlement);
      },
      settleWith: async (
        deliveries: readonly Delivery[],
        units: readonly { events: readonly { event: Event }[] }[],
      ) => {
        if (this.settleWithError) throw this.settleWithError;
        this.together.push({
          positions: deliveries.map(({ position }) => position),
          events: units.flatMap(({ events }) => events.map(({ event }) => event.id)),
        });
      },
      close: async () => {
        this.closed = true;
        this.pulled?.resolve();
      },
    },
    'leased',
    { get: () => this.leased },
  ) as unknown as EngineSubscription;

  /** Answers the pull that waits. */
  async hand(...deliveries: readonly Delivery[]): Promise<void> {
    this.take?.(deliveries);
    this.take = null;
    this.pulled?.resolve();
    await this.clock.settle();
  }
}

const delivery = (position: number, given: Given = {}): Delivery => {
  const { key = null, attempts = 0, begun = false, crashed = false, recordedMs = 0, expirytime } = given;
  const attributes = { specversion: '1.0', id: `e${position}`, source: '/s', type: 't', subject: key ?? undefined };
  const record = { error: { name: 'CarillonError', message: 'x', code: 'CARILLON_CRASHED' } } as AttemptRecord;
  return {
    position,
    recordedMs,
    key,
    attempts,
    begun,
    event: makeEvent(expirytime === undefined ? attributes : { ...attributes, expirytime }, null),
    records: crashed ? [record] : [],
    asked: false,
  };
};

interface Made {
  readonly script: Script;
  readonly runner: Runner;
  readonly host: DispatchHost;
  readonly calls: {
    ids: string[];
    context: HandlerContext;
    end: (value?: unknown) => void;
    fail: (error: unknown) => void;
  }[];
  readonly told: Observation[];
}

/** A runner whose handler ends when the test says so. */
function driven(
  strategy: Strategy = {},
  { limits = {}, batch = false, handler }: { limits?: Partial<Limits>; batch?: boolean; handler?: Handler } = {},
): Made {
  const script = new Script();
  const calls: Made['calls'] = [];
  const told: Observation[] = [];
  const controlled = (given: Event | readonly Event[], context: HandlerContext): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const ids = (Array.isArray(given) ? (given as readonly Event[]) : [given as Event]).map(({ id }) => id);
      calls.push({ ids, context, end: resolve, fail: reject });
    });
  const host: DispatchHost = {
    engine: {} as Engine,
    clock: script.clock,
    limits: { ...defaultLimits, ...limits },
    log: silentLogger,
    worker: 'w',
    random: () => 0.5,
    followUp: (event) => event,
    admit: (events) => ({ events: events.map((event) => ({ event, data: null })) }),
    tell: (observation) => told.push(observation),
    answered: null,
  };
  const spec: HandlerSpec = {
    name: 'm.h',
    target: '>',
    description: undefined,
    kind: batch ? 'batch' : 'async',
    handler: handler ?? controlled,
    strategy: resolveStrategy(strategy, { batchHandler: batch, of: 'm.h' }),
    given: strategy,
    from: 'now',
    transaction: false,
    wantsType: () => true,
    passes: null,
    responds: [],
  };
  return { script, runner: new Runner(host, spec, script.source), host, calls, told };
}

const started = ({ calls }: Made): string[] => calls.map(({ ids }) => ids.join('+'));
const several = (count: number, given: Given = {}): Delivery[] =>
  Array.from({ length: count }, (_, index) => delivery(index + 1, given));

async function end(made: Made, index: number, value?: unknown): Promise<void> {
  made.calls[index]?.end(value);
  await made.script.clock.settle();
}

async function fail(made: Made, index: number, error: unknown = new Error('no luck')): Promise<void> {
  made.calls[index]?.fail(error);
  await made.script.clock.settle();
}

describe('concurrency', () => {
  it('is bounded over all keys', async () => {
    const made = driven({ concurrency: 2 });
    await made.script.hand(...several(4));
    expect(started(made)).toEqual(['e1', 'e2']);
    await end(made, 0);
    expect(started(made)).toEqual(['e1', 'e2', 'e3']);
    expect(made.script.settled).toEqual(['1 ack']);
  });

  it('is one within a key, in order, while other keys go on', async () => {
    const made = driven({ concurrency: 8 });
    await made.script.hand(delivery(1, { key: 'a' }), delivery(2, { key: 'a' }), delivery(3, { key: 'b' }));
    expect(started(made)).toEqual(['e1', 'e3']);
    await end(made, 1);
    expect(started(made)).toEqual(['e1', 'e3']);
    await end(made, 0);
    expect(started(made)).toEqual(['e1', 'e3', 'e2']);
  });

  it('is one over all in total order', async () => {
    const made = driven({ order: 'total' });
    await made.script.hand(...several(3));
    expect(started(made)).toEqual(['e1']);
    await end(made, 0);
    expect(started(made)).toEqual(['e1', 'e2']);
  });

  it('without order can be bounded within a key all the same', async () => {
    const made = driven({ order: 'none', concurrency: { all: 8, perKey: 2 } });
    // Such an engine gives no keys to hold back.
    const keyed = several(3, { key: 'a' }).map((one) => ({ ...one, key: null }));
    await made.script.hand(...keyed, delivery(4));
    expect(started(made)).toEqual(['e1', 'e4', 'e2']);
    await end(made, 1);
    expect(started(made).length).toBe(3);
    await end(made, 2);
    expect(started(made)).toEqual(['e1', 'e4', 'e2', 'e3']);
  });

  it('lets handlers that return at once follow each other without end', async () => {
    const handled: string[] = [];
    const made = driven({ concurrency: 1 }, { handler: ({ id }) => void handled.push(id) });
    await made.script.hand(...several(2000, { begun: true, attempts: 1 }));
    expect(handled.length).toBe(2000);
    expect(made.runner.counts.handled).toBe(2000);
  });
});

describe('counting attempts', () => {
  it('comes before the handler runs', async () => {
    const made = driven();
    made.script.countsByHand = true;
    await made.script.hand(...several(2));
    expect([made.script.begins, started(made)]).toEqual([[[1, 2]], []]);
    made.script.counted.shift()?.();
    await made.script.clock.settle();
    expect(made.calls.map(({ context }) => context.attempt)).toEqual([1, 1]);
  });

  it('is not asked for again for what the engine has counted', async () => {
    const made = driven();
    await made.script.hand(delivery(1, { begun: true, attempts: 1 }));
    expect([made.script.begins, started(made)]).toEqual([[], ['e1']]);
  });

  it('buries what a crash cost its last attempt, uncounted', async () => {
    const made = driven({ retry: fixed({ delayMs: 1, attemptsMax: 2 }) });
    await made.script.hand(delivery(1, { attempts: 2, crashed: true }), delivery(2));
    expect([made.script.settled, started(made)]).toEqual([['1 dead'], ['e2']]);
    expect(made.told.find(({ kind }) => kind === 'delivery-end')).toMatchObject({
      outcome: 'dead',
      error: { code: 'CARILLON_CRASHED' },
    });
  });

  it('what is handed out with a buried one that holds its key is given back', async () => {
    const made = driven({ onDead: 'hold', retry: fixed({ delayMs: 1, attemptsMax: 2 }) });
    const [dead, held, other] = [
      delivery(1, { key: 'a', attempts: 2, crashed: true }),
      delivery(2, { key: 'a' }),
      delivery(3, { key: 'b' }),
    ];
    await made.script.hand(dead, held, other);
    expect([made.script.settled, started(made)]).toEqual([['1 dead', '2 held'], ['e3']]);
  });
});

describe('reading ahead', () => {
  it('asks for no more than there is room for, and again when half of it is free', async () => {
    const made = driven({ concurrency: 2 }, { limits: { readAheadMax: 4 } });
    expect(made.script.demands).toEqual([{ max: 4, begun: 2 }]);
    await made.script.hand(...several(4));
    expect(made.script.demands.length).toBe(1);
    await end(made, 0);
    expect(made.script.demands.length).toBe(1);
    await end(made, 1);
    expect(made.script.demands[1]).toMatchObject({ max: 2 });
  });

  it('counts every delivery of a batch that runs', async () => {
    const made = driven({ batch: { size: 3 }, concurrency: 2 }, { batch: true, limits: { readAheadMax: 4 } });
    await made.script.hand(...several(3, { begun: true, attempts: 1 }));
    expect([started(made), made.script.demands[1]?.max]).toEqual([['e1+e2+e3'], 1]);
  });

  it('asks again at once while there is room', async () => {
    const made = driven({ concurrency: 2 }, { limits: { readAheadMax: 4 } });
    await made.script.hand(...several(3));
    expect(made.script.demands[1]).toEqual({ max: 1, begun: 2 });
  });
});

describe('a failure', () => {
  it('that is retried gives back what waits behind it, and nothing else', async () => {
    const made = driven({ retry: fixed({ delayMs: 50 }), concurrency: 8 });
    await made.script.hand(...several(3, { key: 'a' }), delivery(4, { key: 'b' }));
    await fail(made, 0);
    expect(made.script.settled).toEqual(['1 retry', '2 held', '3 held']);
    expect(made.script.settlements[0]).toMatchObject({
      dueMs: made.script.clock.now() + 50,
      record: { attempt: 1, worker: 'w' },
    });
    expect(started(made)).toEqual(['e1', 'e4']);
  });

  it.each([
    ['continue' as const, ['1 dead'], ['e1', 'e2']],
    ['hold' as const, ['1 dead', '2 held'], ['e1']],
  ])('that is dead with %s', async (onDead, settled, calls) => {
    const made = driven({ retry: { kind: 'none' }, onDead });
    await made.script.hand(...several(2, { key: 'a' }));
    await fail(made, 0);
    expect([made.script.settled, started(made)]).toEqual([settled, calls]);
  });

  it('of an unordered one holds nothing back', async () => {
    const made = driven({ order: 'none', concurrency: { all: 1, perKey: 1 } });
    await made.script.hand(...several(2));
    await fail(made, 0);
    expect([made.script.settled, started(made)]).toEqual([['1 retry'], ['e1', 'e2']]);
  });

  it('is what the handler chose, though it swallowed it', async () => {
    const made = driven(
      {},
      {
        handler: (_event, context) => {
          try {
            context.giveUp('no use');
          } catch {
            // As handlers do that catch everything.
          }
          return 'fine';
        },
      },
    );
    await made.script.hand(delivery(1));
    expect(made.script.settlements).toMatchObject([{ type: 'dead', record: { error: { code: 'CARILLON_GAVE_UP' } } }]);
  });

  it('that is thrown at once is one too', async () => {
    const made = driven(
      {},
      {
        handler: () => JSON.parse('{ no JSON') as unknown,
      },
    );
    await made.script.hand(delivery(1));
    expect(made.script.settlements).toMatchObject([{ type: 'retry', record: { error: { name: 'SyntaxError' } } }]);
    expect(made.runner.counts).toEqual({ handled: 0, failed: 1, expired: 0 });
  });
});

describe('what a handler publishes', () => {
  it('is written with its acknowledgement', async () => {
    const made = driven();
    await made.script.hand(delivery(1));
    made.calls[0]?.context.publish(delivery(9).event);
    await end(made, 0);
    expect([made.script.together, made.script.settled]).toEqual([[{ positions: [1], events: ['e9'] }], []]);
    expect(made.runner.counts.handled).toBe(1);
  });

  it('fails the attempt when it is refused', async () => {
    const made = driven();
    made.script.settleWithError = carillonError('CARILLON_REVISION_CONFLICT', 'somebody was first');
    await made.script.hand(delivery(1));
    made.calls[0]?.context.publish(delivery(9).event);
    await end(made, 0);
    expect(made.script.settlements).toMatchObject([
      { type: 'retry', record: { error: { code: 'CARILLON_REVISION_CONFLICT' } } },
    ]);
  });

  it('is dropped when the attempt fails', async () => {
    const made = driven();
    await made.script.hand(delivery(1));
    made.calls[0]?.context.publish(delivery(9).event);
    await fail(made, 0);
    expect([made.script.together, made.script.settled]).toEqual([[], ['1 retry']]);
  });
});

describe('a time-out', () => {
  it('aborts, waits out the grace, then fences the attempt off', async () => {
    const made = driven({ timeoutMs: 100, retry: fixed({ delayMs: 1 }) }, { limits: { abortGraceMs: 50 } });
    await made.script.hand(...several(2, { key: 'a' }));
    const { clock } = made.script;
    const context = made.calls[0]?.context as HandlerContext;
    await clock.advance(99);
    expect(context.signal.aborted).toBe(false);
    await clock.advance(1);
    expect([context.signal.aborted, made.script.settled]).toEqual([true, []]);
    await clock.advance(49);
    expect(made.script.settled).toEqual([]);
    await clock.advance(1);
    expect(made.script.settled).toEqual(['1 retry', '2 held']);
    expect(made.script.settlements[0]).toMatchObject({ record: { error: { code: 'CARILLON_HANDLER_TIMEOUT' } } });
    await end(made, 0, 'too late');
    expect(made.script.settled.length).toBe(2);
    expect(() => context.publish(delivery(9).event)).toThrow('over');
  });

  it('is a failure though the handler ends within the grace', async () => {
    const made = driven({ timeoutMs: 100 });
    await made.script.hand(delivery(1));
    await made.script.clock.advance(100);
    await end(made, 0, 'done after all');
    expect(made.script.settlements).toMatchObject([
      { type: 'retry', record: { error: { code: 'CARILLON_HANDLER_TIMEOUT' } } },
    ]);
  });

  it('comes for each attempt at its own moment', async () => {
    const made = driven({ timeoutMs: 100 }, { limits: { abortGraceMs: 1000 } });
    const { clock } = made.script;
    await made.script.hand(delivery(1));
    await clock.advance(60);
    await made.script.hand(delivery(2));
    const aborted = (): boolean[] => made.calls.map(({ context }) => context.signal.aborted);
    await clock.advance(40);
    expect(aborted()).toEqual([true, false]);
    await clock.advance(59);
    expect(aborted()).toEqual([true, false]);
    await clock.advance(1);
    expect(aborted()).toEqual([true, true]);
  });

  it('does not come for what has ended', async () => {
    const made = driven({ timeoutMs: 100 });
    await made.script.hand(delivery(1));
    const context = made.calls[0]?.context as HandlerContext;
    const { signal } = context;
    await end(made, 0);
    await made.script.clock.advance(1000);
    expect([signal.aborted, made.script.settled]).toEqual([false, ['1 ack']]);
  });
});

describe('expired deliveries', () => {
  it('are settled without being handled, by age and by their own time', async () => {
    const made = driven({ expiry: { maxAgeMs: 1000 } });
    const nowMs = made.script.clock.now();
    const iso = (ms: number): string => new Date(ms).toISOString();
    await made.script.hand(
      delivery(1, { recordedMs: nowMs - 1001 }),
      delivery(2, { recordedMs: nowMs - 1000 }),
      delivery(3, { recordedMs: nowMs, expirytime: iso(nowMs - 1) }),
      delivery(4, { recordedMs: nowMs, expirytime: iso(nowMs) }),
    );
    expect([made.script.settled, started(made)]).toEqual([
      ['1 expired', '3 expired'],
      ['e2', 'e4'],
    ]);
    expect(made.runner.counts.expired).toBe(2);
  });

  it('let their key go on', async () => {
    const made = driven({ expiry: { maxAgeMs: 1000 } });
    const recordedMs = made.script.clock.now();
    await made.script.hand(delivery(1, { key: 'a' }), delivery(2, { key: 'a', recordedMs }));
    expect(started(made)).toEqual(['e2']);
  });
});

describe('batches', () => {
  const strategy: Strategy = { batch: { size: 3, waitMs: 100 }, concurrency: 1 };

  it('start at once when full, else when their time has come', async () => {
    const made = driven(strategy, { batch: true });
    await made.script.hand(...several(4));
    expect(started(made)).toEqual(['e1+e2+e3']);
    await end(made, 0);
    await made.script.clock.advance(99);
    expect(started(made).length).toBe(1);
    await made.script.clock.advance(1);
    expect(started(made)).toEqual(['e1+e2+e3', 'e4']);
  });

  it('fill up while they wait', async () => {
    const made = driven(strategy, { batch: true });
    const counted = { begun: true, attempts: 1 };
    await made.script.hand(delivery(1, counted));
    await made.script.clock.advance(50);
    expect(started(made)).toEqual([]);
    await made.script.hand(delivery(2, counted), delivery(3, counted));
    expect(started(made)).toEqual(['e1+e2+e3']);
    expect(made.script.settled).toEqual([]);
    await end(made, 0);
    expect(made.script.settled).toEqual(['1 ack', '2 ack', '3 ack']);
  });

  it('that failed come one by one', async () => {
    const made = driven({ batch: { size: 3 }, concurrency: 8 }, { batch: true });
    await made.script.hand(...several(3));
    await fail(made, 0);
    expect(made.script.settled).toEqual(['1 retry', '2 retry', '3 retry']);
    await made.script.hand(...several(3, { begun: true, attempts: 2 }));
    expect(started(made)).toEqual(['e1+e2+e3', 'e1', 'e2', 'e3']);
  });

  it('keep the order of a key within them, and one failing holds back the rest of it', async () => {
    const made = driven(strategy, { batch: true });
    await made.script.hand(delivery(1, { key: 'a' }), delivery(2, { key: 'b' }), delivery(3, { key: 'a' }));
    expect(started(made)).toEqual(['e1+e3+e2']);
    await fail(made, 0);
    expect(made.script.settled).toEqual(['1 retry', '3 held', '2 retry']);
  });
});

describe('a suspect of crashes', () => {
  it('runs alone', async () => {
    const made = driven({ concurrency: 8 });
    await made.script.hand(delivery(1), delivery(2, { attempts: 2, crashed: true }), delivery(3));
    expect(started(made)).toEqual(['e1']);
    await end(made, 0);
    expect(started(made)).toEqual(['e1', 'e2']);
    await end(made, 1);
    expect(started(made)).toEqual(['e1', 'e2', 'e3']);
  });

  it('is one only after two crashes', async () => {
    const made = driven({ concurrency: 8 });
    await made.script.hand(delivery(1), delivery(2, { attempts: 1, crashed: true }), delivery(3, { attempts: 2 }));
    expect(started(made)).toEqual(['e1', 'e2', 'e3']);
  });
});

describe('ending', () => {
  it('drains: gives back what waits, lets attempts end, takes no more', async () => {
    const made = driven({ concurrency: 1 });
    await made.script.hand(...several(3));
    let drained = false;
    const draining = made.runner.drain().then(() => (drained = true));
    expect(made.script.settled).toEqual(['2 released', '3 released']);
    await made.script.hand(delivery(4));
    expect([made.script.settled.at(-1), drained]).toEqual(['4 released', false]);
    await end(made, 0);
    await draining;
    expect(made.script.settled.at(-1)).toBe('1 ack');
    await made.runner.stop();
    expect([made.runner.state, made.script.closed]).toEqual(['stopped', true]);
  });

  it('aborts what goes on, which is retried at the next start', async () => {
    const made = driven();
    await made.script.hand(delivery(1));
    const context = made.calls[0]?.context as HandlerContext;
    const { signal } = context;
    const reason = carillonError('CARILLON_STOPPED', 'the bus stops');
    made.runner.abortAll(reason);
    expect([signal.reason, made.script.settlements]).toMatchObject([
      reason,
      [{ type: 'retry', dueMs: made.script.clock.now(), record: { error: { code: 'CARILLON_STOPPED' } } }],
    ]);
    await end(made, 0);
    expect(made.script.settled.length).toBe(1);
  });

  it('stops although it waits for room', async () => {
    const made = driven({ concurrency: 1 }, { limits: { readAheadMax: 1 } });
    await made.script.hand(delivery(1));
    void made.runner.drain();
    await end(made, 0);
    await made.runner.stop();
    expect(made.script.settled).toEqual(['1 ack']);
  });

  it('leaves no timer behind', async () => {
    const made = driven({ batch: { size: 5, waitMs: 100 } }, { batch: true });
    await made.script.hand(delivery(1));
    await made.runner.drain();
    await made.runner.stop();
    expect(made.script.clock.timers).toBe(0);
  });
});

describe('a failed engine', () => {
  it('aborts the attempts and settles nothing', async () => {
    const made = driven({ concurrency: 1 });
    await made.script.hand(...several(2));
    const context = made.calls[0]?.context as HandlerContext;
    const { signal } = context;
    const draining = made.runner.drain();
    const error = carillonError('CARILLON_ENGINE_FAILED', 'the disk is gone');
    made.runner.engineFailed(error);
    await draining;
    await end(made, 0);
    expect([signal.reason, made.runner.state, made.script.settled]).toEqual([error, 'failed', ['2 released']]);
  });

  it('is noticed when a pull is rejected', async () => {
    const made = driven();
    made.script.pulled?.reject(carillonError('CARILLON_ENGINE_FAILED', 'the disk is gone'));
    await made.script.clock.settle();
    expect(made.runner.state).toBe('failed');
    await made.runner.stop();
    expect(made.runner.state).toBe('failed');
  });
});

describe('deliveries that are to be handled elsewhere', () => {
  const odd = ({ position }: Delivery): boolean => position % 2 === 1;

  it('are given back while they wait, and end when they run', async () => {
    const made = driven({ concurrency: 2 });
    await made.script.hand(
      ...several(2),
      delivery(3, { key: 'a' }),
      delivery(4, { key: 'b' }),
      delivery(5, { key: 'a' }),
    );
    made.runner.release(odd);
    expect([made.script.settled, made.runner.inMemory]).toEqual([['3 released', '5 released'], 3]);
    await end(made, 0);
    await end(made, 1);
    await end(made, 2);
    expect([started(made), made.script.settled.slice(2)]).toEqual([
      ['e1', 'e2', 'e4'],
      ['1 ack', '2 ack', '4 ack'],
    ]);
  });

  it('are given back uncounted though their attempt is being counted', async () => {
    const made = driven();
    made.script.countsByHand = true;
    await made.script.hand(...several(2));
    made.runner.release(odd);
    made.script.counted.shift()?.();
    await made.script.clock.settle();
    expect([made.script.settled, started(made)]).toEqual([['1 released'], ['e2']]);
  });

  it('lost, are aborted and settle nothing, and the runner goes on with what comes', async () => {
    const made = driven({ concurrency: 2, order: 'none' });
    await made.script.hand(...several(4));
    const { signal } = (made.calls[0] as { context: HandlerContext }).context;
    made.runner.lost();
    expect(signal.reason).toMatchObject({ code: 'CARILLON_LEASE_LOST' });
    expect(() => made.calls[1]?.context.publish(delivery(9).event)).toThrow(
      expect.objectContaining({ code: 'CARILLON_LEASE_LOST' }) as Error,
    );
    await end(made, 0);
    await fail(made, 1);
    expect([made.script.settled, made.runner.inMemory]).toEqual([[], 0]);
    await made.script.hand(delivery(5));
    await end(made, 2);
    expect([started(made), made.script.settled]).toEqual([['e1', 'e2', 'e5'], ['5 ack']]);
  });

  it('wait while the lease is not sure', async () => {
    const made = driven({ concurrency: 1 });
    await made.script.hand(...several(2));
    made.script.leased = false;
    await end(made, 0);
    expect([started(made), made.script.settled]).toEqual([['e1'], ['1 ack']]);
    made.script.leased = true;
    made.runner.renewed();
    await made.script.clock.settle();
    expect(started(made)).toEqual(['e1', 'e2']);
  });
});

describe('what is told', () => {
  it('of an attempt that ended well', async () => {
    const made = driven();
    const recordedMs = made.script.clock.now();
    await made.script.hand(delivery(1, { recordedMs }));
    await made.script.clock.advance(30);
    await end(made, 0);
    expect(made.told).toMatchObject([
      { kind: 'delivery-start', subscription: 'm.h', attempt: 1, stored: { position: 1, event: { id: 'e1' } } },
      { kind: 'delivery-end', outcome: 'handled', durationMs: 30, latencyMs: 30 },
    ]);
  });

  it('to those who wait for an answer', async () => {
    const made = driven({ retry: { kind: 'none' } });
    const answers: unknown[] = [];
    Object.assign(made.host, {
      answered: (event: Event, name: string, outcome: Outcome) =>
        answers.push([event.id, name, 'error' in outcome ? outcome.error.message : outcome.value]),
    });
    await made.script.hand(delivery(1), delivery(2), delivery(3, { expirytime: '2020-01-01T00:00:00Z' }));
    await end(made, 0, 42);
    await fail(made, 1);
    expect(answers).toEqual([
      ['e3', 'm.h', 'the event has expired'],
      ['e1', 'm.h', 42],
      ['e2', 'm.h', 'no luck'],
    ]);
  });
});

describe('Dispatcher.stop', () => {
  async function dispatched() {
    const made = driven();
    const specs: unknown[] = [];
    const engine = { subscribe: async (spec: unknown) => (specs.push(spec), made.script.source) } as unknown as Engine;
    const dispatcher = new Dispatcher({ ...made.host, engine });
    await made.runner.stop();
    made.script.closed = false;
    const runner = dispatcher.start(await dispatcher.open({ ...made.runner.spec, from: 'beginning' }));
    return { made, dispatcher, runner, specs };
  }

  it('tells the engine what the handler asks for', async () => {
    const { specs, dispatcher } = await dispatched();
    expect(specs).toMatchObject([{ name: 'm.h', from: 'beginning', order: 'key', hold: false, passes: null }]);
    expect([...dispatcher.runners.keys()]).toEqual(['m.h']);
  });

  it('in time lets attempts end', async () => {
    const { made, dispatcher, runner } = await dispatched();
    await made.script.hand(delivery(1));
    const stopping = dispatcher.stop([runner], 100);
    await made.script.clock.advance(99);
    await end(made, 0);
    expect(await stopping).toBe(true);
    expect([made.script.settled, dispatcher.runners.size, made.script.clock.timers]).toEqual([['1 ack'], 0, 0]);
  });

  it('past its deadline aborts them, and says so', async () => {
    const { made, dispatcher, runner } = await dispatched();
    await made.script.hand(delivery(1));
    const stopping = dispatcher.stop([runner], 100);
    await made.script.clock.advance(100);
    expect(await stopping).toBe(false);
    expect(made.script.settlements).toMatchObject([{ type: 'retry', record: { error: { code: 'CARILLON_STOPPED' } } }]);
  });
});
