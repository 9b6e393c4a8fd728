import { describe, expect, it } from 'vitest';
import { carillonError, defaultLimits, makeEvent, silentLogger, type AttemptRecord } from '../../core/index.ts';
import { memoryLog, type MemoryLog } from '../../engines/memory/index.ts';
import { MemoryStore } from '../../engines/memory/store.ts';
import { fakeClock } from '../../testing/index.ts';
import type { Delivery, EncodedEvent, EngineSubscription } from '../engine.ts';
import { logEngine } from './log-engine.ts';
import type {
  CommitBatch,
  CommitResult,
  StoreHost,
  StoreOpened,
  StoreQuery,
  StoreRows,
  StoreTransaction,
} from './store.ts';
import type { DeliveryRow } from './stored.ts';

/** Each of these once stood in the source, and was found by the crash harness (docs/crash-testing.md). */

const encoded = (id: string, subject?: string): EncodedEvent => ({
  event: makeEvent({ specversion: '1.0', id, source: '/s', type: 't', ...(subject ? { subject } : {}) }, null),
  data: 'null',
});

const spec = {
  name: 'm.h',
  from: 'beginning',
  wantsType: () => true,
  passes: null,
  order: 'key',
  hold: false,
  responds: [],
} as const;

const ignored = (): void => undefined;

async function opened(store: MemoryStore, onStorageFull: (full: boolean) => void = ignored) {
  const engine = logEngine(store);
  const host = { clock: fakeClock(), limits: defaultLimits, log: silentLogger };
  await engine.open({ ...host, onFailure: ignored, onStorageFull, onUnreachable: ignored, onAnswer: ignored });
  return engine;
}

async function pull(source: EngineSubscription): Promise<readonly Delivery[]> {
  let pulled: readonly Delivery[] = [];
  await source.pull({ max: 100, begun: 100 }, (deliveries) => (pulled = deliveries));
  return pulled;
}

/** What a process that was killed leaves of these events: `begun` and `held` are rows, by position. */
async function leftBehind(events: number, rows: Readonly<Record<number, 'begun' | 'held'>>): Promise<MemoryLog> {
  const log = memoryLog();
  const engine = await opened(new MemoryStore(log));
  const source = await engine.subscribe(spec);
  await engine.append({ events: Array.from({ length: events }, (_, no) => encoded(`e${no + 1}`, 'k')) });
  await pull(source);
  for (const delivery of (source as unknown as { open: Map<number, Delivery> }).open.values()) {
    source.settle(delivery, { type: 'ack' });
  }
  await engine.close();
  for (const [position, state] of Object.entries(rows))
    log.deliveries.set(`1:${position}`, rowOf(Number(position), state));
  return log;
}

const rowOf = (position: number, state: DeliveryRow['state']): DeliveryRow => ({
  subscription: 1,
  position,
  state,
  key: 'k',
  attempts: state === 'begun' ? 1 : 0,
  atMs: 0,
  holds: false,
  slot: 0,
  records: [] as readonly AttemptRecord[],
  data: null,
});

/** Reads slowly once, and lets something happen meanwhile. */
class SlowStore extends MemoryStore {
  meanwhile: (() => Promise<unknown>) | null = null;

  override async read(query: StoreQuery): Promise<StoreRows> {
    const rows = await super.read(query);
    const { meanwhile } = this;
    this.meanwhile = null;
    await meanwhile?.();
    return rows;
  }
}

describe('a subscription that recovers', () => {
  it('does not pass over what is appended meanwhile', async () => {
    const log = await leftBehind(1, {});
    const store = new SlowStore(log);
    const engine = await opened(store);
    // Positions up to 50 were counted ahead, and the log ended at 2.
    log.states.set(1, Uint8Array.of(1, 1, 49));
    await engine.append({ events: [encoded('e2')] });
    store.meanwhile = () => engine.append({ events: [encoded('e3')] });
    const source = await engine.subscribe(spec);
    const pulled = [...(await pull(source)), ...(await pull(source))];
    expect(pulled.map(({ event }) => event.id)).toEqual(['e2', 'e3']);
    await engine.close();
  });

  it('hands out what was begun after what waited before it', async () => {
    const log = await leftBehind(3, { 1: 'begun', 2: 'held', 3: 'begun' });
    const engine = await opened(new MemoryStore(log));
    const source = await engine.subscribe(spec);
    const pulled = await pull(source);
    expect(pulled.map(({ position, attempts }) => [position, attempts])).toEqual([
      [1, 1],
      [2, 0],
      [3, 1],
    ]);
    await engine.close();
  });
});

/** Its transaction fails with the disk. */
class FailingStore extends MemoryStore {
  override readonly capabilities = { durable: false, transactions: true };
  fail: (error: Error) => void = () => undefined;

  override open(host?: StoreHost): Promise<StoreOpened> {
    this.fail = (error) => host?.onFailure(error);
    return super.open();
  }

  override begin(): never {
    const transaction: StoreTransaction = {
      run: async () => ({ changes: 0 }),
      all: async () => [],
      rollback: async () => undefined,
      commit: async () => {
        const error = carillonError('CARILLON_ENGINE_FAILED', 'the flush failed');
        this.fail(error);
        throw error;
      },
    };
    return Promise.resolve(transaction) as never;
  }
}

describe('a transaction whose commit fails the engine', () => {
  it('tells those whose work had gathered meanwhile', async () => {
    const engine = await opened(new FailingStore(memoryLog()));
    const source = await engine.subscribe(spec);
    await engine.append({ events: [encoded('e1')] });
    const transaction = await source.transaction(await pull(source));
    const scheduled = engine.schedule(encoded('later'), 1);
    await expect(transaction.commit([])).rejects.toMatchObject({ code: 'CARILLON_ENGINE_FAILED' });
    await expect(scheduled).rejects.toMatchObject({ code: 'CARILLON_ENGINE_FAILED' });
  });
});

/** Has no room for events, and some for all else. */
class FullStore extends MemoryStore {
  full = false;

  override async commit(batch: CommitBatch): Promise<CommitResult> {
    if (this.full && batch.units.length > 0) throw carillonError('CARILLON_STORAGE_FULL', 'there is no room');
    return super.commit(batch);
  }
}

describe('a full storage', () => {
  it('is told to have room again once an event went through, not by an acknowledgement', async () => {
    const told: boolean[] = [];
    const store = new FullStore(memoryLog());
    const engine = await opened(store, (full) => told.push(full));
    const source = await engine.subscribe(spec);
    await engine.append({ events: [encoded('e1')] });
    const [delivery] = await pull(source);
    store.full = true;
    await expect(engine.append({ events: [encoded('e2')] })).rejects.toMatchObject({ code: 'CARILLON_STORAGE_FULL' });
    source.settle(delivery as Delivery, { type: 'ack' });
    await engine.flush();
    expect(told).toEqual([true]);
    store.full = false;
    await engine.append({ events: [encoded('e2')] });
    expect(told).toEqual([true, false]);
    await engine.close();
  });
});
