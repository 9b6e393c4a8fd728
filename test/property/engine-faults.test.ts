import { describe, expect, it } from 'vitest';
import { createBus, type BusOptions } from '../../src/bus/index.ts';
import {
  carillonError,
  defineModule,
  fixed,
  makeEvent,
  type Bus,
  type Event,
  type Handler,
  type HandlerOptions,
  type Limits,
} from '../../src/core/index.ts';
import { logEngine, type CommitBatch, type LogStore, type StoreTransaction } from '../../src/engine/log/index.ts';
import { memoryLog } from '../../src/engines/memory/index.ts';
import { MemoryStore } from '../../src/engines/memory/store.ts';
import { fakeClock, type FakeClock } from '../../src/testing/index.ts';
import { realTurn } from '../../src/testing/fake-clock.ts';
import { UnreliablePlace } from './unreliable-store.ts';

// What only a store that fails, lags or fills up at the wrong moment brings about.

const happened = (id: string, subject: string = 'k'): Event =>
  makeEvent({ specversion: '1.0', id, source: '/faults', type: 'thing.happened', subject }, null);

async function start(
  engine: BusOptions['engine'],
  clock: FakeClock,
  handler: Handler,
  options: HandlerOptions = {},
  limits: Partial<Limits> = {},
): Promise<Bus> {
  const module = defineModule('m', (m) =>
    m.handle('thing.happened', handler, { name: 'h', from: 'beginning', ...options }),
  );
  return createBus({ engine, clock, limits, modules: [module] });
}

/** Its transactions have no statements, and the first ones fail to commit. */
class FailingTransactions extends MemoryStore {
  override readonly capabilities: LogStore['capabilities'] = { durable: false, transactions: true };
  failures = 1;

  override begin(): Promise<StoreTransaction> {
    const commit = async (batch: CommitBatch) => {
      if (this.failures-- > 0) throw carillonError('CARILLON_TRANSACTION_FAILED', 'a constraint is violated');
      return this.commit(batch);
    };
    const all = () => Promise.resolve([]);
    return Promise.resolve({
      run: () => Promise.resolve({ changes: 0 }),
      all,
      commit,
      rollback: () => Promise.resolve(),
    });
  }
}

describe('a store that fails', () => {
  it('an attempt whose transaction fails to commit is repeated, also when it was a retry', async () => {
    const clock = fakeClock();
    const attempts: number[] = [];
    const store = new FailingTransactions(memoryLog());
    const bus = await start(
      logEngine(store),
      clock,
      async (_event, context) => {
        attempts.push(context.attempt);
        await context.tx.run('SELECT 1');
        if (context.attempt === 1) throw new Error('first');
      },
      { transaction: true, retry: fixed({ delayMs: 100, attemptsMax: 5 }) },
    );
    await bus.publish(happened('a'));
    await bus.publish(happened('b'));
    await clock.advance(5000);
    expect(attempts).toEqual([1, 2, 3, 1, 2]);
    const [state] = await bus.subscriptions();
    expect(state).toMatchObject({ handled: 2, retrying: 0, held: 0, running: 0 });
    await bus.stop();
    expect(store.log.deliveries.size).toBe(0);
  });
});

describe('a store that lags', () => {
  const place = (): UnreliablePlace => new UnreliablePlace(() => 0);

  it('no handler starts before its attempt is durable, though more is handed out meanwhile', async () => {
    const at = place();
    const clock = fakeClock();
    const log: string[] = [];
    const handler = (life: string) => (event: Event) => {
      log.push(`${life} ${event.id}`);
      return new Promise(() => undefined);
    };
    const options = { concurrency: 1, retry: fixed({ delayMs: 1, attemptsMax: 9 }) };
    const first = await start(at.open(), clock, handler('first'), options, { readAheadMax: 1 });
    await first.publish(['a', 'b', 'c'].map((id) => happened(id, id)));
    await clock.settle();
    at.crash();
    clock.reset();
    const engine = at.open();
    // Its first commit recovers the subscription; the next one would count the attempt of `a`, and is never applied.
    if (at.store) at.store.stuckFrom = 2;
    await start(engine, clock, handler('second'), options);
    // Handed out first is what the crash cut short, then, by another pull, what is read from the log.
    for (let turn = 0; turn < 50; turn++) await realTurn();
    expect(log).toEqual(['first a']);
  });

  it('stop at its deadline leaves a commit under way to end, and throws nothing', async () => {
    const at = place();
    const clock = fakeClock();
    let free = (): void => undefined;
    const bus = await start(at.open(), clock, (event, context) => {
      context.publish(
        makeEvent({ specversion: '1.0', id: `of-${event.id}`, source: '/faults', type: 'thing.followed' }, null),
      );
      if (event.id === 'b' && at.store) at.store.blocked = new Promise((resolve) => (free = resolve));
    });
    await bus.publish(happened('a'));
    await bus.publish(happened('b'));
    for (let turn = 0; turn < 50 && at.store?.blocked === null; turn++) await realTurn();
    const stopping = bus.stop({ deadlineMs: 50 }).then(
      () => 'stopped',
      (error: { code?: string }) => error.code,
    );
    for (let turn = 0; turn < 10; turn++) await realTurn();
    await clock.advance(50);
    free();
    expect(await stopping).toMatch(/stopped|CARILLON_DRAIN_TIMEOUT/);
    expect(at.log.events.map(({ id }) => id).sort()).toEqual(['a', 'b', 'of-a', 'of-b']);
  });

  it('stop ends on a full storage, and says so', async () => {
    const at = place();
    const clock = fakeClock();
    const bus = await start(at.open(), clock, () => undefined);
    await bus.publish(happened('a'));
    await bus.drain();
    await bus.publish(happened('b'));
    if (at.store) at.store.full = true;
    await expect(bus.stop()).rejects.toMatchObject({ code: 'CARILLON_STORAGE_FULL' });
    expect(at.log.events.map(({ id }) => id)).toEqual(['a', 'b']);
  });
});
