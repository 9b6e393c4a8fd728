import { describe, expect, it } from 'vitest';
import {
  carillonError,
  defaultLimits,
  makeEvent,
  silentLogger,
  type Event,
  type SyncContext,
  type SyncHandlerOptions,
  type Target,
} from '../core/index.ts';
import { fakeClock } from '../testing/index.ts';
import { SyncHandlers } from './sync-handlers.ts';

const happened = (id: string, type = 'a', subject?: string): Event =>
  makeEvent({ specversion: '1.0', id, source: '/s', type, subject }, null);

type Handle = (event: Event, context: SyncContext) => unknown;

function handlers(...given: readonly (readonly [string, Target, Handle, SyncHandlerOptions?])[]) {
  const clock = fakeClock();
  const sync = new SyncHandlers(clock, { ...defaultLimits, syncBudgetMs: 100 }, silentLogger);
  for (const [name, target, handler, options = {}] of given) {
    sync.add(name, { kind: 'sync', target, handler, options });
  }
  const admit = (...events: readonly Event[]) => sync.admit(events, (event) => event);
  return { clock, sync, admit };
}

const forever = (): Promise<never> => new Promise(() => undefined);

describe('admit', () => {
  it('runs them in the order they were added, one after the other', async () => {
    const told: string[] = [];
    const tell = (name: string) => async (event: Event) => {
      told.push(`${name} ${event.id}`);
      await Promise.resolve();
      told.push(`${name} ends`);
    };
    const { admit } = handlers(['m.one', '>', tell('1')], ['m.two', 'a', tell('2')], ['m.no', 'b', tell('no')]);
    expect(await admit(happened('x'))).toEqual({ joined: [], answer: undefined });
    expect(told).toEqual(['1 x', '1 ends', '2 x', '2 ends']);
  });

  it('heeds filters', async () => {
    const seen: string[] = [];
    const filter = { exact: { subject: 'yes' } };
    const { admit } = handlers(['m.h', 'a', ({ id }) => void seen.push(id), { filter }]);
    await admit(happened('1', 'a', 'yes'), happened('2', 'a', 'no'), happened('3'));
    expect(seen).toEqual(['1']);
  });

  it('refuses with the cause; later ones do not run', async () => {
    const cause = new Error('no such machine');
    let later = 0;
    const { admit } = handlers(
      [
        'm.gate',
        'a',
        () => {
          throw cause;
        },
      ],
      ['m.later', 'a', () => void later++],
    );
    const refusal = await admit(happened('x')).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'CARILLON_REFUSED', details: { handler: 'm.gate', type: 'a' }, cause });
    expect(later).toBe(0);
  });

  it('refuses for a promise that is rejected, with what is no error too', async () => {
    // eslint-disable-next-line typescript/prefer-promise-reject-errors -- that is the case
    const { admit } = handlers(['m.gate', 'a', () => Promise.reject('a text')]);
    await expect(admit(happened('x'))).rejects.toMatchObject({ code: 'CARILLON_REFUSED', cause: 'a text' });
  });

  it('takes the answer of the first that has one', async () => {
    const { admit } = handlers(['m.a', 'a', () => undefined], ['m.b', 'a', async () => 1], ['m.c', 'a', () => 2]);
    expect((await admit(happened('x'))).answer).toBe(1);
  });

  it('joins what they publish, and what is published about that', async () => {
    const told: string[] = [];
    const { admit } = handlers(
      [
        'm.a',
        'a',
        (event, { publish }) => {
          publish(happened(`${event.id}1`, 'b'));
          publish(happened(`${event.id}2`, 'c'));
        },
      ],
      ['m.b', 'b', (event, { publish }) => publish(happened(`${event.id}!`, 'c'))],
      ['m.all', '>', ({ id }) => void told.push(id)],
    );
    const { joined } = await admit(happened('x'), happened('y'));
    expect(joined.map(({ id }) => id)).toEqual(['x1', 'x2', 'y1', 'y2', 'x1!', 'y1!']);
    expect(told).toEqual(['x', 'y', 'x1', 'x2', 'y1', 'y2', 'x1!', 'y1!']);
  });

  it('checks what joins, with the event it follows from', async () => {
    const { sync } = handlers(['m.a', 'a', (_event, { publish }) => publish(happened('bad', 'b'))]);
    const checked: string[] = [];
    const admitting = sync.admit([happened('x')], (event, cause) => {
      checked.push(`${event.id} of ${cause.id}`);
      throw carillonError('CARILLON_DATA_INVALID', 'not such data');
    });
    await expect(admitting).rejects.toMatchObject({
      code: 'CARILLON_REFUSED',
      cause: { code: 'CARILLON_DATA_INVALID' },
    });
    expect(checked).toEqual(['bad of x']);
  });

  it('ends a circle', async () => {
    let runs = 0;
    const { admit } = handlers(['m.a', 'a', (_event, { publish }) => publish(happened(`again${++runs}`))]);
    await expect(admit(happened('x'))).rejects.toMatchObject({
      code: 'CARILLON_REFUSED',
      cause: { code: 'CARILLON_BATCH_TOO_LARGE' },
    });
    expect(runs).toBe(1001);
  });

  it('gives all of them one budget of time', async () => {
    const slow = (): Promise<void> => new Promise((resolve) => void clock.setTimer(60, resolve));
    const { admit, clock } = handlers(['m.slow', 'a', slow], ['m.hangs', 'a', forever]);
    const outcome = admit(happened('x')).catch((error: unknown) => error);
    await clock.advance(60);
    await clock.advance(39);
    expect(clock.timers).toBe(1);
    await clock.advance(1);
    expect(await outcome).toMatchObject({
      code: 'CARILLON_SYNC_TIMEOUT',
      retryable: true,
      details: { handler: 'm.hangs', limit: 'syncBudgetMs' },
    });
  });

  it('sets no timer for those that return at once, and leaves none behind', async () => {
    const { admit, clock } = handlers(
      ['m.a', 'a', () => expect(clock.timers).toBe(0)],
      ['m.b', 'a', () => Promise.resolve()],
    );
    await admit(happened('x'));
    expect(clock.timers).toBe(0);
  });

  it('refuses what a handler publishes once it is over', async () => {
    let kept: SyncContext | undefined;
    const { admit } = handlers([
      'm.a',
      'a',
      (_event, context) => {
        kept = context;
      },
    ]);
    await admit(happened('x'));
    expect(() => kept?.publish(happened('late'))).toThrow(expect.objectContaining({ code: 'CARILLON_LEASE_LOST' }));
    expect(kept).toMatchObject({ handler: 'm.a', mode: 'publish' });
  });
});

describe('emit', () => {
  it('runs them at once, in order, through their filters', () => {
    const told: string[] = [];
    const { sync } = handlers(
      ['m.a', '>', ({ id }, { mode, handler }) => void told.push(`${handler} ${id} ${mode}`)],
      ['m.b', 'a', ({ id }) => void told.push(`b ${id}`), { filter: { exact: { subject: 'yes' } } }],
    );
    expect(sync.emit(happened('x', 'a', 'yes'))).toBeUndefined();
    expect(sync.emit(happened('y', 'a'))).toBeUndefined();
    expect(sync.emit(happened('z', 'other'))).toBeUndefined();
    expect(told).toEqual(['m.a x emit', 'b x', 'm.a y emit', 'm.a z emit']);
  });

  it('waits for one that is asynchronous before the next', async () => {
    const told: string[] = [];
    const { sync } = handlers(
      ['m.a', 'a', () => void told.push('a')],
      [
        'm.b',
        'a',
        async () => {
          await Promise.resolve();
          told.push('b');
        },
      ],
      ['m.c', 'a', () => void told.push('c')],
      ['m.d', 'a', () => void told.push('no'), { filter: { exact: { subject: 'yes' } } }],
      [
        'm.e',
        'a',
        async () => {
          await Promise.resolve();
          told.push('e');
        },
      ],
    );
    const emitted = sync.emit(happened('x'));
    expect(told).toEqual(['a']);
    await emitted;
    expect(told).toEqual(['a', 'b', 'c', 'e']);
  });

  it('throws what a handler throws, as it is', async () => {
    const error = new Error('as it is');
    const { sync } = handlers(
      [
        'm.a',
        'a',
        () => {
          throw error;
        },
      ],
      ['m.b', 'b', () => Promise.reject(error)],
    );
    expect(() => sync.emit(happened('x', 'a'))).toThrow(error);
    await expect(sync.emit(happened('x', 'b'))).rejects.toBe(error);
  });

  it('has nothing to publish to', () => {
    const { sync } = handlers(['m.a', 'a', (_event, { publish }) => publish(happened('y'))]);
    expect(() => sync.emit(happened('x'))).toThrow(expect.objectContaining({ code: 'CARILLON_EMIT_PUBLISH' }));
  });

  it('finds handlers that were added since', () => {
    const { sync } = handlers();
    let calls = 0;
    void sync.emit(happened('x'));
    sync.add('m.h', { kind: 'sync', target: 'a', handler: () => void calls++, options: {} });
    void sync.emit(happened('x'));
    void sync.emit(happened('x', 'b'));
    void sync.emit(happened('x'));
    expect(calls).toBe(2);
  });

  it('remembers a bounded number of types', () => {
    const { sync } = handlers(['m.h', '>', () => undefined]);
    for (let no = 0; no < 10_001; no++) void sync.emit({ ...happened('x'), type: `type${no}` });
    expect(sync.byType.size).toBe(1);
  });
});
