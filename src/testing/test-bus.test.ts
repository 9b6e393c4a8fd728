import { afterEach, describe, expect, it } from 'vitest';
import { defineEvent, defineModule, exponential, fixed, type HandlerContext } from '../core/index.ts';
import { describeEngine } from './describe-engine.ts';
import { guarantees } from './conformance/index.ts';
import { testBus, type TestBus, type TestBusOptions } from './test-bus.ts';

const Placed = defineEvent('order.placed', { subject: (data: unknown) => (data as { order: string }).order });

const running: TestBus[] = [];
async function started(options: TestBusOptions): Promise<TestBus> {
  const bus = await testBus(options);
  running.push(bus);
  return bus;
}
afterEach(async () => {
  await Promise.allSettled(running.splice(0).map((bus) => bus.stop()));
});

const failingUntil = (attempt: number) => (_event: unknown, context: HandlerContext) => {
  if (context.attempt < attempt) throw new Error(`attempt ${context.attempt}`);
};

describe('testBus', () => {
  it('tells what was published, handled and attempted', async () => {
    const orders = defineModule('orders', (m) =>
      m.handle(Placed, failingUntil(2), { name: 'ship', retry: fixed({ delayMs: 1000 }) }),
    );
    const test = await started({ modules: [orders] });
    await test.bus.publish(Placed({ order: 'o1' }));
    expect((await test.published()).map(({ subject }) => subject)).toEqual(['o1']);
    expect(test.handled('orders.ship')).toEqual([]);
    await test.advance(1000);
    expect(test.handled('orders.ship').map(({ subject }) => subject)).toEqual(['o1']);
    expect(test.attempts('orders.ship').map(({ attempt, outcome }) => [attempt, outcome])).toEqual([
      [1, 'retried'],
      [2, 'handled'],
    ]);
  });

  it('waits for an observation, letting no more time pass than it takes', async () => {
    const orders = defineModule('orders', (m) =>
      m.handle(Placed, failingUntil(3), { name: 'ship', retry: fixed({ delayMs: 1000 }) }),
    );
    const test = await started({ modules: [orders], startMs: 0 });
    await test.bus.publish(Placed({ order: 'o1' }));
    const seen = await test.waitFor((one) => one.kind === 'delivery-end' && one.outcome === 'handled');
    expect([seen.kind, test.clock.now()]).toEqual(['delivery-end', 2000]);
    expect(await test.waitFor((one) => one.kind === 'published')).toMatchObject({ position: 1 });
  });

  it('says what was observed when what it waits for does not come', async () => {
    const test = await started({
      modules: [defineModule('orders', (m) => m.handle(Placed, () => undefined, { name: 'ship' }))],
    });
    await expect(test.waitFor(() => false, 10)).rejects.toThrow('not observed within 10 ms; what was: nothing');
    await test.bus.publish(Placed({ order: 'o1' }, { id: 'e1' }));
    await expect(test.waitFor(() => false, 10)).rejects.toThrow(
      /published order\.placed e1, orders\.ship started e1 \(1\), orders\.ship handled e1 \(1\)$/,
    );
  });

  it('goes on where an earlier one stopped, on its log', async () => {
    const first = await started({});
    await first.bus.publish(Placed({ order: 'o1' }));
    await first.stop();
    const orders = defineModule('orders', (m) =>
      m.handle(Placed, () => undefined, { name: 'ship', from: 'beginning' }),
    );
    const second = await started({ modules: [orders], memoryLog: first.memoryLog });
    await second.settle();
    expect(second.handled('orders.ship')).toHaveLength(1);
  });

  it('makes the same jitter of the same seed', async () => {
    const moments = async (seed: number): Promise<number> => {
      const orders = defineModule('orders', (m) =>
        m.handle(Placed, failingUntil(4), { name: 'ship', retry: exponential({ attemptsMax: 9 }) }),
      );
      const test = await started({ modules: [orders], seed, startMs: 0 });
      await test.bus.publish(Placed({ order: 'o1' }));
      await test.waitFor((one) => one.kind === 'delivery-end' && one.outcome === 'handled');
      return test.clock.now();
    };
    expect(await moments(7)).toBe(await moments(7));
    expect(await moments(7)).not.toBe(await moments(8));
  });

  it('stops though a handler hangs, and tells so', async () => {
    const orders = defineModule('orders', (m) =>
      m.handle(Placed, () => new Promise(() => undefined), { name: 'ship' }),
    );
    const test = await started({ modules: [orders] });
    await test.bus.publish(Placed({ order: 'o1' }));
    await test.settle();
    await expect(test.stop()).rejects.toMatchObject({ code: 'CARILLON_DRAIN_TIMEOUT' });
    expect((await test.bus.health()).status).toBe('stopped');
  });
});

describe('a crash of a test bus', () => {
  const hanging = (calls: number[]) =>
    defineModule('orders', (m) =>
      m.handle(
        Placed,
        (_event, { attempt }) => {
          calls.push(attempt);
          return calls.length === 1 ? new Promise(() => undefined) : undefined;
        },
        { name: 'ship', from: 'beginning' },
      ),
    );

  it('leaves what was durable, and the attempt in hand counted', async () => {
    const calls: number[] = [];
    const first = await started({ modules: [hanging(calls)] });
    await first.bus.publish(Placed({ order: 'o1' }));
    await first.settle();
    const left = first.crash();
    const second = await started({ modules: [hanging(calls)], memoryLog: left, startMs: first.clock.now() });
    await second.settle();
    expect(calls).toEqual([1, 2]);
    expect((await second.published()).map(({ subject }) => subject)).toEqual(['o1']);
    await first.stop();
  });

  it('keeps what the dead bus still does out of what it left', async () => {
    const first = await started({ modules: [hanging([])] });
    const late = first.bus.publish(Placed({ order: 'late' }));
    late.catch(() => undefined);
    const left = first.crash();
    await first.settle();
    const second = await started({ memoryLog: left });
    expect(await second.published()).toEqual([]);
  });
});

describe('describeEngine', () => {
  it('registers every case with the runner it is given, and tells which are refusals', () => {
    const names: string[] = [];
    const capabilities = { durable: true, transactions: false, shared: true, outbox: true };
    const open = (): never => {
      throw new Error('no case runs here');
    };
    describeEngine(
      { name: 'mine', capabilities, open },
      { describe: (_name, body) => body(), it: (name) => void names.push(name) },
    );
    const cases = guarantees.flatMap((guarantee) => guarantee.cases);
    expect(names).toHaveLength(cases.length);
    expect(names.filter((name) => name.endsWith('(refused: no transactions)'))).toHaveLength(
      cases.filter(({ needs }) => needs === 'transactions').length,
    );
  });

  it('asks for a runner where none stands in the global scope', () => {
    const engine = {
      name: 'mine',
      capabilities: { durable: true, transactions: true, shared: false, outbox: false },
      open: () => Promise.reject(new Error()),
    };
    expect(() => describeEngine(engine)).toThrow(/give it \{ describe, it \}/);
  });
});
