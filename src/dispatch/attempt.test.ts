import { describe, expect, it } from 'vitest';
import { carillonError, makeEvent, resolveStrategy, silentLogger, type Event, type Logger } from '../core/index.ts';
import type { Delivery, EngineSubscription } from '../engine/index.ts';
import { fakeClock } from '../testing/index.ts';
import { Attempt } from './attempt.ts';
import type { Lane } from './lanes.ts';
import type { DispatchHost, HandlerSpec } from './subscription.ts';

const event = makeEvent({ specversion: '1.0', id: 'e', source: '/s', type: 't' }, null);
const follower = makeEvent({ specversion: '1.0', id: 'f', source: '/s', type: 'u' }, null);
const delivery: Delivery = {
  position: 7,
  recordedMs: 0,
  key: null,
  attempts: 2,
  begun: true,
  event,
  records: [],
  asked: false,
};

function attempt(transaction = false) {
  const clock = fakeClock();
  const begun: unknown[] = [];
  const lines: unknown[] = [];
  const log: Logger = { ...silentLogger, child: (fields) => (lines.push(fields), silentLogger) };
  const source = {
    transaction: async (deliveries: unknown) => {
      begun.push(deliveries);
      return { run: async () => ({ changes: 1 }), all: async () => [{ n: 1 }] };
    },
  } as unknown as EngineSubscription;
  const host = {
    clock,
    log,
    followUp: (given: Event, cause: Event) =>
      makeEvent({ specversion: '1.0', id: given.id, source: '/s', type: 'u', causationid: cause.id }, null),
  } as unknown as DispatchHost;
  const strategy = resolveStrategy({ timeoutMs: 500 }, { batchHandler: false, of: 'm.h' });
  const spec = { name: 'm.h', strategy, transaction } as HandlerSpec;
  const context = new Attempt(host, spec, source, [{ delivery, lane: {} as Lane }], clock.monotonic());
  return { clock, begun, lines, context };
}

const lost = expect.objectContaining({
  code: 'CARILLON_LEASE_LOST',
  details: { subscription: 'm.h', position: 7 },
});

describe('a context', () => {
  it('tells whose attempt it is', async () => {
    const { context, clock, lines } = attempt();
    const startMs = clock.now();
    await clock.advance(100);
    expect([context.subscription, context.attempt, context.position]).toEqual(['m.h', 2, 7]);
    expect([context.startedMs, context.deadlineMs]).toEqual([startMs, startMs + 500]);
    context.log.info('x');
    expect(lines).toEqual([{ subscription: 'm.h', event: 'e', type: 't', position: 7, attempt: 2 }]);
  });

  it('makes its signal when asked, and always the same', () => {
    const { context } = attempt();
    expect(context.controller).toBeNull();
    const { signal } = context;
    expect([signal.aborted, context.signal === signal]).toEqual([false, true]);
    const reason = carillonError('CARILLON_HANDLER_TIMEOUT', 'too long');
    context.abort(reason);
    expect([signal.aborted, signal.reason]).toEqual([true, reason]);
  });

  it('asked for its signal after the end of its time gives one that has aborted', () => {
    const { context } = attempt();
    const reason = carillonError('CARILLON_HANDLER_TIMEOUT', 'too long');
    context.abort(reason);
    expect([context.signal.aborted, context.signal.reason]).toEqual([true, reason]);
  });

  it('collects what is published, as what follows from its event', () => {
    const { context } = attempt();
    expect(context.published).toBeNull();
    context.publish(follower);
    expect(context.published).toMatchObject([{ id: 'f', causationid: 'e' }]);
  });

  it('remembers what the handler chose', () => {
    const later = attempt().context;
    expect(() => later.retryLater(5, 'locked')).toThrow('locked');
    expect(later.chosen).toMatchObject({ kind: 'retry-later', delayMs: 5 });
    const done = attempt().context;
    expect(() => done.giveUp('no use')).toThrow('no use');
    expect(done.chosen).toMatchObject({ kind: 'give-up' });
  });

  it('does not remember a delay that cannot be meant', () => {
    const { context } = attempt();
    expect(() => context.retryLater(-1)).toThrow(expect.objectContaining({ code: 'CARILLON_OPTION_INVALID' }));
    expect(context.chosen).toBeNull();
  });

  it.each(['aborted', 'over', 'committing'] as const)('of an attempt that is %s is refused', async (state) => {
    const { context } = attempt(true);
    const { tx } = context;
    context.state = state;
    expect(() => context.publish(follower)).toThrow(lost);
    expect(() => context.retryLater(5)).toThrow(lost);
    expect(() => context.giveUp('x')).toThrow(lost);
    expect(() => context.tx).toThrow(lost);
    await expect(tx.run('SELECT 1')).rejects.toEqual(lost);
    await expect(tx.all('SELECT 1')).rejects.toEqual(lost);
    expect([context.published, context.chosen]).toEqual([null, null]);
  });

  it('says why it is over', () => {
    const { context } = attempt();
    context.abort(carillonError('CARILLON_HANDLER_TIMEOUT', 'took too long'));
    expect(() => context.publish(follower)).toThrow('took too long');
  });
});

describe('its transaction', () => {
  it('is refused to a handler that did not ask for one', () => {
    expect(() => attempt().context.tx).toThrow(expect.objectContaining({ code: 'CARILLON_OPTION_INVALID' }));
  });

  it('is begun by the first statement, once', async () => {
    const { context, begun } = attempt(true);
    const { tx } = context;
    expect([begun, context.tx === tx]).toEqual([[], true]);
    expect(await Promise.all([tx.run('INSERT'), tx.all('SELECT')])).toEqual([{ changes: 1 }, [{ n: 1 }]]);
    expect(begun).toEqual([[delivery]]);
  });
});
