import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { carillonError, defaultLimits, isCarillonError, makeEvent, silentLogger } from '../../src/core/index.ts';
import type { EncodedEvent, EngineHost } from '../../src/engine/index.ts';
import { LogWriter, type StateSource } from '../../src/engine/log/writer.ts';
import type { CommitBatch, CommitResult, DeliveryRow, StateWrite } from '../../src/engine/log/index.ts';
import { memoryLog } from '../../src/engines/memory/index.ts';
import { MemoryStore } from '../../src/engines/memory/store.ts';
import { fakeClock, seededRandom, type FakeClock } from '../../src/testing/index.ts';
import { realTurn } from '../../src/testing/fake-clock.ts';
import { UnreliableStore } from './unreliable-store.ts';

type Action =
  | { readonly do: 'append'; readonly count: number }
  | { readonly do: 'join' }
  | { readonly do: 'row'; readonly position: number }
  | { readonly do: 'state' }
  | { readonly do: 'full'; readonly full: boolean }
  | { readonly do: 'turns'; readonly count: number }
  | { readonly do: 'advance'; readonly ms: number };

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('append' as const), count: fc.integer({ min: 1, max: 300 }) }) },
  { weight: 3, arbitrary: fc.constant<Action>({ do: 'join' }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('row' as const), position: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 3, arbitrary: fc.constant<Action>({ do: 'state' }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('full' as const), full: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(0, 10, 500) }) },
);

const encoded = (id: string): EncodedEvent => ({
  event: makeEvent({ specversion: '1.0', id, source: '/writer', type: 'thing.happened' }, null),
  data: 'null',
});

/** A subscription that counts: its state is the number of changes it was told of. */
class Counter implements StateSource {
  readonly no = 1;
  readonly readUpTo = Number.MAX_SAFE_INTEGER;
  snapshotToken = 0;
  changes = 0;
  durable = 0;
  sent: Map<number, number> = new Map();

  snapshot(): readonly StateWrite[] {
    this.sent.set(++this.snapshotToken, this.changes);
    const state = Uint8Array.of(this.changes % 256, Math.floor(this.changes / 256));
    return [{ subscription: this.no, share: 0, version: 0, state }];
  }
  snapshotDurable(token: number): void {
    this.durable = this.sent.get(token) ?? -1;
  }
  snapshotLost(): void {
    this.sent.clear();
  }
  appended(): void {}
}

interface Told {
  readonly id: string;
  outcome: 'pending' | 'stored' | 'full' | 'failed';
}

describe('the writer, on a store that fills up', () => {
  it('loses nothing it took, keeps the order, and applies nothing of a generation that failed', {
    timeout: 120_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.array(action, { maxLength: 60, size: 'max' }), async (seed, actions) => {
        const log = memoryLog();
        const store = new UnreliableStore(log, seededRandom(seed));
        const clock = fakeClock(undefined, { turn: () => store.idle() });
        const failures: Error[] = [];
        const host: EngineHost = {
          clock,
          limits: defaultLimits,
          log: silentLogger,
          onFailure: (error) => failures.push(error),
          onStorageFull: () => undefined,
          onUnreachable: () => undefined,
          onAnswer: () => undefined,
        };
        const writer = new LogWriter(store, host, 0, 0);
        const counter = new Counter();
        writer.sources.add(counter);
        const units: Told[][] = [];
        const joined: Told[] = [];
        const rows = new Map<number, number>();
        let told = 0;

        const settle = (all: readonly Told[], publishing: Promise<unknown>): void => {
          const set = (outcome: Told['outcome']) => () => all.forEach((one) => (one.outcome = outcome));
          publishing.then(set('stored'), (error: unknown) =>
            set(isCarillonError(error, 'CARILLON_STORAGE_FULL') ? 'full' : 'failed')(),
          );
        };
        for (const one of actions) {
          switch (one.do) {
            case 'append': {
              const unit = Array.from({ length: one.count }, (): Told => ({ id: `e${told++}`, outcome: 'pending' }));
              units.push(unit);
              settle(unit, writer.append({ events: unit.map(({ id }) => encoded(id)) }));
              break;
            }
            case 'join': {
              const each: Told = { id: `j${told++}`, outcome: 'pending' };
              joined.push(each);
              counter.changes++;
              writer.touch(counter);
              settle([each], writer.appendJoined({ events: [encoded(each.id)] }));
              break;
            }
            case 'row': {
              const attempts = (rows.get(one.position) ?? 0) + 1;
              rows.set(one.position, attempts);
              writer.putRow({
                subscription: 1,
                position: one.position,
                slot: 0,
                state: 'retrying',
                key: null,
                attempts,
                atMs: 0,
                holds: false,
                records: [],
                data: null,
              });
              break;
            }
            case 'state':
              counter.changes++;
              writer.touch(counter);
              break;
            case 'full':
              store.full = one.full;
              break;
            case 'turns':
              for (let turn = 0; turn < one.count; turn++) await realTurn();
              break;
            case 'advance':
              await clock.advance(one.ms);
              break;
          }
        }
        store.full = false;
        await clock.advance(2000);
        await writer.commitNow();
        await clock.settle();

        const ids = log.events.map(({ id }) => id);
        const stored = new Set(ids);
        expect(stored.size).toBe(ids.length);
        expect(failures).toEqual([]);
        for (const unit of units) {
          const [first] = unit as [Told];
          expect(['stored', 'full']).toContain(first.outcome);
          const there = unit.filter(({ id }) => stored.has(id)).length;
          // Told to be full means not stored; stored means all of it.
          expect([first.outcome, there]).toEqual([first.outcome, first.outcome === 'stored' ? unit.length : 0]);
        }
        expect(joined.map(({ outcome }) => outcome)).toEqual(joined.map(() => 'stored'));
        const inOrder = (prefix: string): void => {
          const numbers = ids.filter((id) => id.startsWith(prefix)).map((id) => Number(id.slice(1)));
          expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
        };
        inOrder('j');
        inOrder('e');
        const inStore = new Map([...log.deliveries.values()].map(({ position, attempts }) => [position, attempts]));
        for (const [position, attempts] of rows)
          expect([position, inStore.get(position)]).toEqual([position, attempts]);
        expect(inStore.size).toBe(rows.size);
        const state = log.states.get(1) ?? Uint8Array.of(0, 0);
        expect([counter.durable, (state[0] as number) + 256 * (state[1] as number)]).toEqual([
          counter.changes,
          counter.changes,
        ]);
        expect([writer.eventsInFlight, writer.sizeInFlight, writer.unitEvents, writer.underWay]).toEqual([0, 0, 0, 0]);
      }),
      { numRuns: Number(process.env['CARILLON_PROPERTY_RUNS'] ?? 150), includeErrorInReport: true },
    );
  });
});

/** A store whose commits end when the test says so. */
class HandFedStore extends MemoryStore {
  readonly commits: { readonly batch: CommitBatch; readonly end: (error?: Error) => void }[] = [];

  override commit(batch: CommitBatch): Promise<CommitResult> {
    return new Promise((resolve, reject) => {
      const end = (error?: Error): void => (error ? reject(error) : resolve(super.commit(batch)));
      this.commits.push({ batch, end });
    });
  }
}

function writerOf(store: HandFedStore, clock: FakeClock): LogWriter {
  const nothing = (): void => undefined;
  const host = {
    clock,
    limits: defaultLimits,
    log: silentLogger,
    onFailure: nothing,
    onStorageFull: nothing,
    onUnreachable: nothing,
    onAnswer: nothing,
  };
  return new LogWriter(store, host, 0, 0);
}

describe('the writer, when a commit is refused', () => {
  it('tries what was asked for meanwhile once, and then lets go', async () => {
    const store = new HandFedStore(memoryLog());
    const clock = fakeClock();
    const writer = writerOf(store, clock);
    const full = carillonError('CARILLON_STORAGE_FULL', 'full');
    const refusal = writer.append({ events: [encoded('a')] }).catch((error: unknown) => error);
    await clock.settle();
    const closing = writer.commitOnce();
    store.commits[0]?.end(full);
    expect(await refusal).toBe(full);
    await clock.settle();
    store.commits[1]?.end();
    await closing;
    const again = writer.append({ events: [encoded('b')] }).catch((error: unknown) => error);
    const closingAgain = writer.commitOnce().catch((error: unknown) => error);
    await clock.settle();
    store.commits[2]?.end(full);
    expect([await again, await closingAgain]).toEqual([full, full]);
  });

  it('and a second is under way: sends nothing before it has heard of the second, and then all in the order in which it was told', async () => {
    const store = new HandFedStore(memoryLog());
    const clock = fakeClock();
    const writer = writerOf(store, clock);
    const events = (name: string, count: number) => ({
      events: Array.from({ length: count }, (_, n) => encoded(`${name}${n}`)),
    });
    const row = (attempts: number): void =>
      writer.putRow({ ...rowBehind, attempts, state: attempts === 1 ? 'begun' : 'retrying' });

    const full = carillonError('CARILLON_STORAGE_FULL', 'full');
    const first = writer.append(events('plain', 300));
    const joinedFirst = writer.appendJoined(events('j', 1));
    row(1);
    await clock.settle();
    expect(store.commits).toHaveLength(1);
    const joinedSecond = writer.appendJoined(events('k', 1));
    row(2);
    const second = writer.append(events('later', 300));
    await clock.settle();
    expect(store.commits).toHaveLength(2);

    const refusal = first.catch((error: unknown) => error);
    store.commits[0]?.end(full);
    row(3);
    await clock.advance(500);
    expect(store.commits).toHaveLength(2);
    store.commits[1]?.end(full);
    expect(await refusal).toBe(full);
    await clock.advance(500);
    expect(store.commits).toHaveLength(3);
    store.commits[2]?.end();
    await Promise.all([joinedFirst, joinedSecond, second]);
    const ids = store.log.events.map(({ id }) => id);
    expect([ids.slice(0, 3), ids.length]).toEqual([['j0', 'k0', 'later0'], 302]);
    expect(store.log.deliveries.get('1:7')).toMatchObject({ attempts: 3, state: 'retrying' });
  });
});

const rowBehind: DeliveryRow = {
  subscription: 1,
  position: 7,
  slot: 0,
  state: 'begun',
  key: null,
  attempts: 0,
  atMs: 0,
  holds: false,
  records: [],
  data: null,
};
