import { describe, expect, it, vi } from 'vitest';
import {
  carillonError,
  defaultLimits,
  makeEvent,
  silentLogger,
  type AttemptRecord,
  type Event,
  type Limits,
} from '../../core/index.ts';
import { memoryLog, type MemoryLog } from '../../engines/memory/index.ts';
import { MemoryStore } from '../../engines/memory/store.ts';
import { fakeClock } from '../../testing/index.ts';
import type { Delivery, EncodedEvent, Engine, EngineSubscription, SubscriptionSpec } from '../engine.ts';
import { logEngine } from './log-engine.ts';
import type { CommitBatch, StoreTransaction } from './store.ts';
import type { LogWriter } from './writer.ts';

const event = (id: string, type = 't', subject?: string): Event =>
  makeEvent({ specversion: '1.0', id, source: '/s', type, subject }, null);
const encoded = (id: string, type?: string, subject?: string): EncodedEvent => ({
  event: event(id, type, subject),
  data: 'null',
});
const unit = (...ids: readonly string[]) => ({ events: ids.map((id) => encoded(id)) });

async function opened({
  log = memoryLog(),
  limits = {},
  store = new MemoryStore(log),
}: {
  log?: MemoryLog;
  limits?: Partial<Limits>;
  store?: MemoryStore;
} = {}) {
  const clock = fakeClock();
  const failures: Error[] = [];
  const warnings: string[] = [];
  const engine = logEngine(store);
  const host = {
    clock,
    limits: { ...defaultLimits, ...limits },
    log: { ...silentLogger, warn: (message: string) => void warnings.push(message) },
    onFailure: (error: Error) => void failures.push(error),
    onStorageFull: () => undefined,
    onUnreachable: () => undefined,
    onAnswer: () => undefined,
  };
  await engine.open(host);
  return { clock, engine, host, store, failures, warnings };
}

const spec = (given: Partial<SubscriptionSpec> = {}): SubscriptionSpec => ({
  name: 'm.h',
  from: 'beginning',
  wantsType: () => true,
  passes: null,
  order: 'key',
  hold: false,
  responds: [],
  ...given,
});

const record = { attempt: 1, error: { name: 'Error', message: 'no luck' } } as AttemptRecord;

/** Deliveries whose attempts are counted. */
async function pull(source: EngineSubscription): Promise<readonly Delivery[]> {
  let pulled: readonly Delivery[] = [];
  await source.pull({ max: 100, begun: 100 }, (deliveries) => (pulled = deliveries));
  await source.begin(pulled.filter(({ begun }) => !begun));
  return pulled;
}

const idsOf = async (engine: Engine): Promise<string[]> =>
  (await engine.readPage({ after: 0, limit: 1000 })).events.map((stored) => stored.event.id);

describe('a log engine', () => {
  it('is opened once', async () => {
    const { engine, host } = await opened();
    await expect(engine.open(host)).rejects.toMatchObject({ code: 'CARILLON_OPTION_INVALID' });
    await engine.close();
  });

  it('closed takes nothing more, and closes twice', async () => {
    const { engine } = await opened();
    await engine.append(unit('a'));
    await Promise.all([engine.close(), engine.close()]);
    expect(() => engine.append(unit('b'))).toThrow(expect.objectContaining({ code: 'CARILLON_STOPPED' }));
    await expect(engine.ends()).rejects.toMatchObject({ code: 'CARILLON_STOPPED' });
    await expect(engine.subscribe(spec())).rejects.toMatchObject({ code: 'CARILLON_STOPPED' });
    await expect(engine.flush()).rejects.toMatchObject({ code: 'CARILLON_STOPPED' });
  });

  it('tells the ends, from the first event on', async () => {
    const { engine } = await opened();
    expect(await engine.ends()).toEqual({ first: 0, last: 0 });
    await engine.append(unit('a', 'b'));
    expect(await engine.ends()).toEqual({ first: 1, last: 2 });
    await engine.close();
  });

  it('calls back after appends, until it is told not to', async () => {
    const { engine } = await opened();
    const told: number[] = [];
    const end = engine.onAppend((last) => told.push(last));
    await engine.append(unit('a', 'b'));
    await engine.append(unit('a'));
    await engine.append(unit('c'));
    end();
    await engine.append(unit('d'));
    expect(told).toEqual([2, 3]);
    await engine.close();
  });

  it('lets one open a subscription of a name at a time', async () => {
    const { engine } = await opened();
    const first = await engine.subscribe(spec());
    await expect(engine.subscribe(spec())).rejects.toMatchObject({ code: 'CARILLON_SUBSCRIPTION_CONFLICT' });
    await first.close();
    await (await engine.subscribe(spec())).close();
    expect(await engine.subscriptionNames()).toEqual(['m.h']);
    await engine.close();
  });

  it('passes over positions at the end of the log that nothing is at', async () => {
    const log = memoryLog();
    const { engine } = await opened({ log });
    const source = await engine.subscribe(spec());
    await engine.append(unit('a'));
    const first = await pull(source);
    const next = pull(source);
    // Given out by another process, whose transaction was then rolled back.
    log.last = 4;
    const { tail } = (engine as unknown as { readonly writer: LogWriter }).writer;
    const looks = vi.spyOn(tail.recent, 'covers');
    looks.mockImplementation(() => {
      if (looks.mock.calls.length > 100) throw new Error('it looks for ever');
      return true;
    });
    tail.heard(4);
    await vi.waitUntil(() => tail.last === 4);
    await engine.append(unit('b'));
    expect([...first, ...(await next)].map(({ position }) => position)).toEqual([1, 5]);
    await engine.close();
  });

  it('fails every call once its store has failed', async () => {
    const store = new MemoryStore(memoryLog());
    store.commit = () => Promise.reject(carillonError('CARILLON_ENGINE_FAILED', 'the disk is gone'));
    const { engine, failures } = await opened({ store });
    const failed = { code: 'CARILLON_ENGINE_FAILED' };
    await expect(engine.append(unit('a'))).rejects.toMatchObject(failed);
    await expect(engine.append(unit('b'))).rejects.toMatchObject(failed);
    await expect(engine.flush()).rejects.toMatchObject(failed);
    await expect(engine.schedule(encoded('c'), 5)).rejects.toMatchObject(failed);
    expect(failures).toMatchObject([failed]);
    await engine.close();
  });
});

describe('readPage', () => {
  async function filled(limits: Partial<Limits> = {}) {
    const made = await opened({ limits });
    for (let no = 1; no <= 10; no++) {
      await made.engine.append({ events: [encoded(`e${no}`, no % 2 ? 'odd' : 'even', no < 4 ? 'low' : undefined)] });
      await made.clock.advance(100);
    }
    return { ...made, startMs: made.clock.now() - 1000 };
  }

  it.each([
    ['a page, and where to go on', { limit: 3 }, [1, 2, 3], 3],
    ['the last page', { after: 8, limit: 3 }, [9, 10], null],
    ['just to the end', { after: 7, limit: 3 }, [8, 9, 10], null],
    ['up to a position', { upTo: 2 }, [1, 2], null],
    ['past the end', { after: 50 }, [], null],
    ['of a type', { type: 'even', limit: 2 }, [2, 4], 4],
    ['of a subject', { subject: 'low' }, [1, 2, 3], null],
    ['what matches', { matches: ({ id }: Event) => id.endsWith('0') }, [10], null],
    ['what matches, a limited number', { matches: ({ type }: Event) => type === 'odd', limit: 2 }, [1, 3], 3],
  ])('gives %s', async (_what, query, expected, next) => {
    const { engine } = await filled();
    const page = await engine.readPage({ after: 0, limit: 100, ...query });
    expect([page.events.map(({ position }) => position), page.next]).toEqual([expected, next]);
    await engine.close();
  });

  it('heeds moments: from the first on, before the second', async () => {
    const { engine, startMs } = await filled();
    const between = async (sinceMs?: number, untilMs?: number): Promise<number[]> =>
      (await engine.readPage({ after: 0, limit: 100, sinceMs, untilMs })).events.map(({ position }) => position);
    expect(await between(startMs + 300, startMs + 500)).toEqual([4, 5]);
    expect(await between(startMs + 850)).toEqual([10]);
    expect(await between(undefined, startMs + 1)).toEqual([1]);
    expect(await between(undefined, startMs)).toEqual([]);
    expect(await between(startMs + 5000)).toEqual([]);
    await engine.close();
  });

  it('looks at no more than its bound, and says where it stands', async () => {
    const { engine } = await filled({ scanMax: 4 });
    const page = await engine.readPage({ after: 0, limit: 100, matches: ({ id }) => id === 'e6' });
    expect(page).toEqual({ events: [], next: 4 });
    const second = await engine.readPage({ after: 4, limit: 100, matches: ({ id }) => id === 'e6' });
    expect([second.events.length, second.next]).toEqual([1, 8]);
    await engine.close();
  });
});

describe('the schedule', () => {
  it('appends each event at its moment, the earliest first', async () => {
    const { engine, clock } = await opened();
    const startMs = clock.now();
    await engine.schedule(encoded('later'), startMs + 500);
    await engine.schedule(encoded('sooner'), startMs + 100);
    await clock.advance(99);
    expect(await idsOf(engine)).toEqual([]);
    await clock.advance(1);
    expect(await idsOf(engine)).toEqual(['sooner']);
    await clock.advance(400);
    expect(await idsOf(engine)).toEqual(['sooner', 'later']);
    expect(clock.timers).toBe(0);
    await engine.close();
  });

  it('is deduplicated against the log and itself', async () => {
    const { engine, clock } = await opened();
    const dueMs = clock.now() + 100;
    await engine.append(unit('a'));
    expect(await engine.schedule(encoded('a'), dueMs)).toMatchObject({
      position: 1,
      duplicate: true,
      scheduledMs: null,
    });
    expect(await engine.schedule(encoded('b'), dueMs)).toMatchObject({
      position: null,
      duplicate: false,
      scheduledMs: dueMs,
    });
    expect(await engine.schedule(encoded('b'), dueMs + 9)).toMatchObject({ duplicate: true, scheduledMs: dueMs });
    await engine.close();
  });

  it('moves what came due in the meantime, more than a page of it', async () => {
    const log = memoryLog();
    const first = await opened({ log });
    await Promise.all(
      Array.from({ length: 1100 }, (_, no) => first.engine.schedule(encoded(`e${no}`), first.clock.now() + 10 + no)),
    );
    await first.engine.close();
    const second = await opened({ log });
    await second.clock.advance(5000);
    expect((await second.engine.ends()).last).toBe(1100);
    expect((await idsOf(second.engine)).slice(0, 3)).toEqual(['e0', 'e1', 'e2']);
    await second.engine.close();
  });

  it('tries again when the storage refuses, and fires once', async () => {
    const store = new MemoryStore(memoryLog());
    const { engine, clock, warnings } = await opened({ store });
    await engine.schedule(encoded('a'), clock.now() + 100);
    const read = store.readDue.bind(store);
    let refused = 0;
    store.readDue = (ms, limit) => {
      if (refused++ === 0) return Promise.reject(carillonError('CARILLON_STORAGE_FULL', 'no room'));
      return read(ms, limit);
    };
    await clock.advance(100);
    expect([await idsOf(engine), warnings.length]).toEqual([[], 1]);
    await clock.advance(1000);
    expect(await idsOf(engine)).toEqual(['a']);
    await engine.close();
  });

  it('takes back what is cancelled', async () => {
    const { engine, clock } = await opened();
    await engine.schedule(encoded('a'), clock.now() + 100);
    expect(await engine.cancelScheduled('/s', 'a')).toBe(true);
    expect(await engine.cancelScheduled('/s', 'a')).toBe(false);
    await clock.advance(200);
    expect(await idsOf(engine)).toEqual([]);
    await engine.close();
  });

  it('is left alone once the engine is closed', async () => {
    const { engine, clock } = await opened();
    await engine.schedule(encoded('a'), clock.now() + 100);
    await engine.close();
    expect(clock.timers).toBe(0);
  });
});

describe('dead letters', () => {
  async function withDead(count: number) {
    const made = await opened();
    const source = await made.engine.subscribe(spec());
    await made.engine.append(unit(...Array.from({ length: count }, (_, no) => `e${no + 1}`)));
    for (let dead = 0; dead < count; ) {
      for (const delivery of await pull(source)) {
        source.settle(delivery, { type: 'dead', record, keep: true });
        dead++;
      }
    }
    return { ...made, source };
  }

  it('are listed, found, and tell what happened', async () => {
    const { engine, clock } = await withDead(3);
    const listed = await engine.deadLetters.list({ subscription: 'm.h', after: 1, limit: 1 });
    expect(listed).toEqual([
      {
        subscription: 'm.h',
        position: 2,
        key: null,
        deadMs: clock.now(),
        attemptCount: 1,
        attempts: [record],
        holds: false,
        event: event('e2'),
      },
    ]);
    expect(await engine.deadLetters.list({ subscription: 'other', after: 0, limit: 9 })).toEqual([]);
    expect((await engine.deadLetters.list({ subscription: undefined, after: 0, limit: 9 })).length).toBe(3);
    expect((await engine.deadLetters.get('m.h', 3))?.event.id).toBe('e3');
    expect(await engine.deadLetters.get('m.h', 4)).toBeNull();
    await engine.close();
  });

  it('redriven come again from the first attempt, with the data given', async () => {
    const { engine, source } = await withDead(2);
    expect(await engine.deadLetters.redrive({ subscription: 'm.h', positions: [2] }, '"edited"')).toEqual([2]);
    const [delivery] = await pull(source);
    expect(delivery).toMatchObject({ position: 2, attempts: 1, records: [record], event: { data: 'edited' } });
    expect((await engine.readPage({ after: 1, limit: 1 })).events[0]?.event.data).toBeNull();
    expect((await source.state()).dead).toBe(1);
    await engine.close();
  });

  it('of a subscription go all at once, more than a page of them', async () => {
    const { engine, source } = await withDead(1201);
    expect((await engine.deadLetters.discard({ subscription: 'm.h' })).length).toBe(1201);
    expect((await source.state()).dead).toBe(0);
    expect(await engine.deadLetters.discard({ subscription: 'm.h' })).toEqual([]);
    await engine.close();
  });

  it('that are not there are named, and nothing is changed', async () => {
    const { engine, source } = await withDead(2);
    for (const change of ['redrive', 'discard'] as const) {
      const changing = engine.deadLetters[change]({ subscription: 'm.h', positions: [1, 7] }, undefined);
      await expect(changing).rejects.toMatchObject({
        code: 'CARILLON_DEAD_LETTER_UNKNOWN',
        details: { subscription: 'm.h', positions: [7] },
      });
    }
    expect((await source.state()).dead).toBe(2);
    await engine.close();
  });

  it('redriven twice at the same time come once', async () => {
    const { engine, source } = await withDead(1);
    const both = await Promise.all([1, 2].map(() => engine.deadLetters.redrive({ subscription: 'm.h' }, undefined)));
    expect(both).toEqual([[1], []]);
    const [delivery, ...more] = await pull(source);
    expect([delivery?.attempts, more]).toEqual([1, []]);
    await engine.close();
  });

  it('of a subscription that does not run are changed all the same', async () => {
    const { engine, source } = await withDead(2);
    await source.close();
    expect(await engine.deadLetters.redrive({ subscription: 'm.h', positions: [1] }, undefined)).toEqual([1]);
    expect(await engine.deadLetters.discard({ subscription: 'm.h', positions: [2] })).toEqual([2]);
    const again = await engine.subscribe(spec());
    expect((await pull(again)).map(({ position }) => position)).toEqual([1]);
    await engine.close();
  });
});

describe('a transaction', () => {
  /** A memory store with transactions of no consequence: statements are remembered, the batch is applied at once. */
  class TransactionalStore extends MemoryStore {
    override readonly capabilities = { durable: false, transactions: true };
    readonly told: string[] = [];
    failure: Error | null = null;

    override async begin(timeoutMs?: number): Promise<never> {
      this.told.push(`begin ${timeoutMs}`);
      const transaction: StoreTransaction = {
        run: async (sql) => (this.told.push(sql), { changes: 1 }),
        all: async (sql) => (this.told.push(sql), []),
        commit: async (batch: CommitBatch) => {
          this.told.push('commit');
          if (this.failure) throw this.failure;
          return this.commit(batch);
        },
        rollback: async () => void this.told.push('rollback'),
      };
      return transaction as never;
    }
  }

  async function begun() {
    const store = new TransactionalStore(memoryLog());
    const made = await opened({ store, limits: { transactionMs: 77 } });
    const source = await made.engine.subscribe(spec());
    await made.engine.append(unit('e'));
    const [delivery] = await pull(source);
    const transaction = await source.transaction([delivery as Delivery]);
    return { ...made, store, source, delivery: delivery as Delivery, transaction };
  }

  it('commits statements, events and the acknowledgement', async () => {
    const { engine, store, source, transaction } = await begun();
    await transaction.run('INSERT');
    await transaction.all('SELECT');
    await transaction.commit([unit('of-e')]);
    expect(store.told).toEqual(['begin 77', 'INSERT', 'SELECT', 'commit']);
    expect(await idsOf(engine)).toEqual(['e', 'of-e']);
    expect((await source.state()).open).toBe(0);
    await engine.close();
  });

  it('keeps other commits waiting until it ends', async () => {
    const { engine, clock, transaction } = await begun();
    let appended = false;
    const appending = engine.append(unit('x')).then(() => (appended = true));
    await clock.settle();
    expect(appended).toBe(false);
    await transaction.rollback();
    await appending;
    expect(await idsOf(engine)).toEqual(['e', 'x']);
    await engine.close();
  });

  it('that fails to commit leaves the delivery with its attempt, and the writer free', async () => {
    const { engine, store, source, delivery, transaction } = await begun();
    store.failure = carillonError('CARILLON_TRANSACTION_FAILED', 'deferred constraint');
    await expect(transaction.commit([unit('of-e')])).rejects.toBe(store.failure);
    expect((await source.state()).open).toBe(1);
    source.settle(delivery, { type: 'retry', dueMs: 0, record });
    await engine.append(unit('x'));
    expect(await idsOf(engine)).toEqual(['e', 'x']);
    await engine.close();
  });

  it('that has ended takes nothing more', async () => {
    const { engine, store, transaction } = await begun();
    await transaction.rollback();
    await transaction.rollback();
    const over = { code: 'CARILLON_LEASE_LOST' };
    await expect(transaction.run('INSERT')).rejects.toMatchObject(over);
    await expect(transaction.all('SELECT')).rejects.toMatchObject(over);
    await expect(transaction.commit([])).rejects.toMatchObject(over);
    expect(store.told).toEqual(['begin 77', 'rollback']);
    await engine.close();
  });

  it('that cannot begin leaves the writer free', async () => {
    const { engine, store, source, delivery, transaction } = await begun();
    await transaction.rollback();
    store.begin = () => Promise.reject(carillonError('CARILLON_STORAGE_BUSY', 'busy'));
    await expect(source.transaction([delivery])).rejects.toMatchObject({ code: 'CARILLON_STORAGE_BUSY' });
    await engine.append(unit('x'));
    expect(await idsOf(engine)).toEqual(['e', 'x']);
    await engine.close();
  });

  it('is refused by an engine without', async () => {
    const { engine } = await opened();
    const source = await engine.subscribe(spec());
    await engine.append(unit('e'));
    await expect(source.transaction(await pull(source))).rejects.toMatchObject({ code: 'CARILLON_UNSUPPORTED' });
    await engine.close();
  });
});
