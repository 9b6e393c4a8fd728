import { describe, expect, it } from 'vitest';
import { carillonError, type Event } from '../../core/index.ts';
import { fakeClock } from '../../testing/index.ts';
import { Batches } from './batches.ts';
import type { Lsn } from './lsn.ts';

interface Call {
  readonly ids: readonly string[];
  readonly end: Lsn | null;
  readonly settle: (error?: Error) => Promise<void>;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function kit(batchEvents: number) {
  const clock = fakeClock();
  const calls: Call[] = [];
  const told: string[] = [];
  const batches = new Batches({
    clock,
    batchEvents,
    publish: (events, end) =>
      new Promise((resolve, reject) => {
        const settle = async (error?: Error): Promise<void> => {
          if (error) reject(error);
          else resolve();
          await turn();
        };
        calls.push({ ids: events.map(({ id }) => id), end, settle });
      }),
    onBroken: (error) => told.push(`broken: ${error.message}`),
    onRefused: (error) => told.push(`refused: ${error.message}`),
    onRoom: () => told.push('room'),
  });
  const add = (...ids: readonly string[]): void => {
    for (const id of ids) batches.add({ id } as Event, 100);
  };
  const last = (): Call => calls.at(-1) as Call;
  return { clock, calls, told, batches, add, last };
}

describe('batches', () => {
  it('hold whole transactions, as many as fit, one batch at a time', async () => {
    const { batches, add, calls, last } = kit(4);
    add('a');
    batches.committed(1n);
    add('b', 'c');
    batches.committed(2n);
    add('d', 'e');
    batches.committed(3n);
    expect(calls.map(({ ids, end }) => [ids, end])).toEqual([[['a'], 1n]]);
    await last().settle();
    expect([last().ids, last().end]).toEqual([['b', 'c', 'd', 'e'], 3n]);
    await last().settle();
    expect(batches.empty).toBe(true);
  });

  it('do not split a transaction that fits, and split one that does not while it is read', async () => {
    const { batches, add, calls, last } = kit(3);
    add('a', 'b');
    batches.committed(1n);
    await last().settle();
    add('c', 'd');
    batches.committed(2n);
    add('e', 'f', 'g', 'h');
    await last().settle();
    expect([last().ids, last().end]).toEqual([['e', 'f', 'g'], null]);
    await last().settle();
    // The rest waits for its end.
    expect(calls).toHaveLength(3);
    batches.committed(3n);
    expect([last().ids, last().end]).toEqual([['h'], 3n]);
  });

  it('tell of the end of a transaction without changes, in its turn', async () => {
    const { batches, add, last } = kit(3);
    add('a');
    batches.committed(1n);
    batches.committed(2n);
    await last().settle();
    expect([last().ids, last().end]).toEqual([[], 2n]);
  });

  it('say when they are full, and when there is room', async () => {
    const { batches, add, told, last } = kit(1);
    for (const id of ['a', 'b', 'c', 'd']) add(id);
    expect(batches.full).toBe(false);
    add('e');
    expect(batches.full).toBe(true);
    await last().settle();
    expect(told).toEqual([]);
    await last().settle();
    expect(told).toEqual(['room']);
  });

  it('repeat the same batch while it is refused for now', async () => {
    const { batches, add, calls, told, clock, last } = kit(5);
    add('a');
    batches.committed(1n);
    add('b');
    batches.committed(2n);
    await last().settle(carillonError('CARILLON_STORAGE_FULL', 'full'));
    expect(told).toEqual(['refused: full']);
    expect(batches.empty).toBe(false);
    await clock.advance(60_000);
    expect(calls.map(({ ids }) => ids)).toEqual([['a'], ['a']]);
    await last().settle();
    expect([last().ids, last().end]).toEqual([['b'], 2n]);
  });

  it.each(['CARILLON_DATA_INVALID', 'CARILLON_ENGINE_FAILED', 'CARILLON_STOPPED'] as const)(
    'end with %s',
    async (code) => {
      const { batches, add, told, last, calls } = kit(5);
      add('a');
      batches.committed(1n);
      await last().settle(carillonError(code, 'no'));
      add('b');
      batches.committed(2n);
      expect(told).toEqual(['broken: no']);
      expect(calls).toHaveLength(1);
    },
  );

  it('are halved where the bus takes only smaller ones', async () => {
    const { batches, add, calls, last } = kit(4);
    add('a', 'b', 'c', 'd');
    await last().settle(carillonError('CARILLON_BATCH_TOO_LARGE', 'large'));
    await last().settle();
    await last().settle();
    expect(calls.map(({ ids }) => ids)).toEqual([
      ['a', 'b', 'c', 'd'],
      ['a', 'b'],
      ['c', 'd'],
    ]);
    expect(batches.empty).toBe(true);
    add('e', 'f', 'g');
    expect(last().ids).toEqual(['e', 'f']);
  });

  it('take a place for reached only when all before it is durable', async () => {
    const { batches, add, last } = kit(4);
    batches.reached(5n);
    expect(batches.idleAt).toBe(5n);
    add('a');
    batches.reached(6n);
    batches.committed(7n);
    batches.reached(8n);
    expect(batches.idleAt).toBe(5n);
    await last().settle();
    batches.reached(9n);
    expect(batches.idleAt).toBe(9n);
  });

  it('close when what is on its way has come to its end', async () => {
    const { batches, add, last } = kit(4);
    add('a');
    batches.committed(1n);
    let closed = false;
    const closing = batches.close().then(() => (closed = true));
    await turn();
    expect(closed).toBe(false);
    await last().settle();
    await closing;
    const empty = kit(4);
    await empty.batches.close();
  });
});
