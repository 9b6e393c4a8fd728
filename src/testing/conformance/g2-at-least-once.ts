import {
  defineModule,
  exponential,
  fixed,
  list,
  noRetry,
  type DeadLetter,
  type HandlerOptions,
  type Strategy,
} from '../../core/index.ts';
import { holds, same } from './check.ts';
import {
  conformanceCase,
  fail,
  forever,
  handles,
  handlesBatches,
  happened,
  recorder,
  several,
  type ConformanceCase,
  type Kit,
} from './kit.ts';
import { refusesOthers } from './refusals.ts';

async function onlyLetter(kit: Kit): Promise<DeadLetter> {
  const letters = await kit.bus.deadLetters.list();
  same(letters.length, 1, 'dead letters');
  return letters[0] as DeadLetter;
}

/** Publishes one event whose attempts all fail, lets time pass, and returns when each attempt was made, from the first. */
async function attemptsAt(kit: Kit, strategy: Strategy, error: () => never = fail): Promise<number[]> {
  const { calls, handler } = recorder(kit, error);
  await kit.start([handles(handler, strategy)], { random: () => 0.5 });
  await kit.bus.publish(happened(`at-${kit.clock.now()}`));
  await kit.advance(10 * 60_000);
  await kit.stop();
  const [first] = calls;
  return calls.map((call) => call.atMs - (first?.atMs ?? 0));
}

/** G2: every async subscription sees every matching event until it is acked, dead lettered or expired. */
export const g2: readonly ConformanceCase[] = [
  conformanceCase(
    'G2-1',
    'each subscription sees each event it asks for, by type, pattern or list, once',
    async (kit) => {
      const seen: Record<string, string[]> = { exact: [], one: [], rest: [], all: [] };
      const into = (name: string) => (event: { id: string }) => void seen[name]?.push(event.id);
      const module = defineModule('suite', (m) => {
        m.handle('a.b', into('exact'), { name: 'exact', order: 'total' });
        m.handle('a.*', into('one'), { name: 'one', order: 'total' });
        m.handle('a.>', into('rest'), { name: 'rest', order: 'total' });
        m.handle('>', into('all'), { name: 'all', order: 'total' });
      });
      await kit.start([module]);
      for (const type of ['a.b', 'a.c', 'a.b.c', 'b']) await kit.bus.publish(happened(type, { type }));
      await kit.bus.drain();
      same(
        seen,
        { exact: ['a.b'], one: ['a.b', 'a.c'], rest: ['a.b', 'a.c', 'a.b.c'], all: ['a.b', 'a.c', 'a.b.c', 'b'] },
        'what each subscription handled',
      );
    },
  ),

  conformanceCase('G2-2', 'an attempt cut short by a crash is counted, and the next one follows it', async (kit) => {
    const first = recorder(kit, forever);
    await kit.start([handles(first.handler)]);
    await kit.bus.publish(happened('e', { key: 'k' }));
    await kit.until(() => first.calls.length === 1, 'the first attempt');
    await kit.crash();
    const second = recorder(kit, (_event, context) => context.giveUp('enough'));
    await kit.start([handles(second.handler)]);
    await kit.until(() => second.calls.length === 1, 'the second attempt');
    await kit.settle();
    same([first.calls[0]?.attempt, second.calls[0]?.attempt], [1, 2], 'attempts');
    const { attempts, attemptCount } = await onlyLetter(kit);
    same(attemptCount, 2, 'attempts counted');
    same(
      attempts.map((record) => [record.attempt, record.error.code]),
      [
        [1, 'CARILLON_CRASHED'],
        [2, 'CARILLON_GAVE_UP'],
      ],
      'the record',
    );
  }),

  conformanceCase(
    'G2-3',
    'a crash at every attempt ends in a dead letter: attempts never exceed attemptsMax',
    async (kit) => {
      const attempts: number[] = [];
      const retry = fixed({ delayMs: 0, attemptsMax: 3 });
      for (let life = 1; life <= 5; life++) {
        const { calls, handler } = recorder(kit, forever);
        await kit.start([handles(handler, { retry })]);
        if (life === 1) await kit.bus.publish(happened('poison', { key: 'k' }));
        await kit.settle();
        attempts.push(...calls.map((call) => call.attempt));
        if (life < 5) await kit.crash();
      }
      same(attempts, [1, 2, 3], 'attempts over five lives');
      const letter = await onlyLetter(kit);
      same([letter.event.id, letter.attemptCount], ['poison', 3], 'the dead letter');
      same(
        letter.attempts.map((record) => [record.attempt, record.error.code]),
        [1, 2, 3].map((attempt) => [attempt, 'CARILLON_CRASHED']),
        'the record of each attempt',
      );
    },
  ),

  conformanceCase('G2-4', 'an event that kills the process does not take its neighbours along', async (kit) => {
    const handled = new Set<string>();
    const retry = fixed({ delayMs: 0, attemptsMax: 3 });
    const innocents = several(30, 'innocent');
    for (let life = 1; life <= 8; life++) {
      // The poison kills at once: its neighbours are in hand then, and none is done.
      let killed = false;
      const { handler } = recorder(kit, async (event) => {
        if (event.id === 'poison') killed = true;
        if (killed) await forever();
        await Promise.resolve();
        if (killed) await forever();
        handled.add(event.id);
      });
      await kit.start([handles(handler, { retry })]);
      if (life === 1) await kit.bus.publish([...innocents.slice(0, 10), happened('poison'), ...innocents.slice(10)]);
      await kit.settle();
      if (!killed) break;
      await kit.crash();
    }
    same([...handled].sort(), innocents.map(({ id }) => id).sort(), 'innocents handled');
    same((await onlyLetter(kit)).event.id, 'poison', 'the dead one');
  }),

  conformanceCase(
    'G2-5',
    'a retry outlives a crash: its attempts are kept, and it is not made before its time',
    async (kit) => {
      const options = { retry: fixed({ delayMs: 60_000 }) };
      const first = recorder(kit, () => fail());
      await kit.start([handles(first.handler, options)]);
      await kit.bus.publish(happened('e', { key: 'k' }));
      await kit.until(() => kit.observations.some((one) => one.kind === 'delivery-end'), 'the failure');
      await kit.settle();
      await kit.crash();
      const second = recorder(kit);
      await kit.start([handles(second.handler, options)]);
      await kit.advance(59_000);
      same(second.ids(), [], 'attempts before the time');
      await kit.advance(1000);
      await kit.until(() => second.calls.length === 1, 'the second attempt');
      same(second.calls[0]?.attempt, 2, 'its attempt');
    },
  ),

  conformanceCase('G2-6', 'what was published and never handled is delivered after a crash, all of it', async (kit) => {
    const first = recorder(kit, forever);
    const events = several(200, 'e');
    await kit.start([handles(first.handler, { concurrency: 2 })]);
    await kit.bus.publish(events);
    await kit.until(() => first.calls.length === 2, 'two attempts');
    await kit.crash();
    const second = recorder(kit);
    await kit.start([handles(second.handler, { concurrency: 2 })]);
    await kit.bus.drain();
    same([...new Set(second.ids())].sort(), events.map(({ id }) => id).sort(), 'delivered after the crash');
    same(second.calls.length, 200, 'deliveries after the crash');
    holds(
      second.calls.filter(({ attempt }) => attempt > 1).length <= 4,
      'a crash counts only for what was in hand, not for what waited',
    );
  }),

  conformanceCase('G2-7', 'retries come after exactly the delays of their kind', async (kit) => {
    const kinds: [string, Strategy, number[]][] = [
      ['fixed', { retry: fixed({ delayMs: 700, attemptsMax: 3 }) }, [0, 700, 1400]],
      [
        'exponential',
        { retry: exponential({ initialMs: 100, factor: 3, maxMs: 500, jitter: 'none' }) },
        [0, 100, 400, 900, 1400],
      ],
      ['full jitter of 0.5', { retry: exponential({ initialMs: 100, attemptsMax: 4 }) }, [0, 50, 150, 350]],
      ['list', { retry: list([10, 0, 5000]) }, [0, 10, 10, 5010]],
      ['none', { retry: noRetry() }, [0]],
    ];
    for (const [kind, strategy, expected] of kinds) {
      same(await attemptsAt(kit, strategy), expected, `moments of the attempts, retry ${kind}`);
    }
    await kit.start();
    same(
      (await kit.bus.deadLetters.list()).map(({ attemptCount }) => attemptCount),
      kinds.map(([, , moments]) => moments.length),
      'attempts counted',
    );
  }),

  conformanceCase('G2-8', 'retry.only, retry.never and retry.maxAgeMs end retries early', async (kit) => {
    const refusing = (): never => {
      throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
    };
    const always = { delayMs: 1000, attemptsMax: Infinity };
    same(await attemptsAt(kit, { retry: fixed({ ...always, never: ['ECONNREFUSED'] }) }, refusing), [0], 'never');
    same(await attemptsAt(kit, { retry: fixed({ ...always, only: ['RangeError'] }) }, refusing), [0], 'only others');
    const only = fixed({ delayMs: 1000, attemptsMax: 3, only: ['ECONNREFUSED'] });
    same(await attemptsAt(kit, { retry: only }, refusing), [0, 1000, 2000], 'only this one');
    const aged = fixed({ ...always, maxAgeMs: 2500 });
    same(await attemptsAt(kit, { retry: aged }, refusing), [0, 1000, 2000, 3000], 'maxAgeMs');
  }),

  conformanceCase(
    'G2-9',
    'retryLater waits exactly what it says, counts, and yields to giveUp, which ends at once',
    async (kit) => {
      const { calls, handler } = recorder(kit, (_event, context) => {
        if (context.attempt === 3) context.giveUp('that is enough');
        try {
          context.retryLater(1234);
        } catch {
          // Swallowed by accident: the attempt knows all the same.
        }
      });
      await kit.start([handles(handler, { retry: fixed({ delayMs: 1, attemptsMax: 9 }) })]);
      await kit.bus.publish(happened('e'));
      await kit.advance(10_000);
      const [first] = calls;
      same(
        calls.map((call) => [call.attempt, call.atMs - (first?.atMs ?? 0)]),
        [
          [1, 0],
          [2, 1234],
          [3, 2468],
        ],
        'attempts and their moments',
      );
      const { attempts } = await onlyLetter(kit);
      same(attempts.at(-1)?.error.code, 'CARILLON_GAVE_UP', 'the last record');
      const bounded = recorder(kit, (_event, context) => context.retryLater(1));
      await kit.stop();
      await kit.start([handles(bounded.handler, { retry: fixed({ delayMs: 1, attemptsMax: 2 }) })]);
      await kit.bus.publish(happened('bounded'));
      await kit.advance(100);
      same(bounded.calls.length, 2, 'attempts of a handler that always asks for another');
    },
  ),

  conformanceCase('G2-10', 'an attempt out of time is aborted, has a grace, and is then fenced off', async (kit) => {
    const late: unknown[] = [];
    const end: (() => void)[] = [];
    const { calls, handler } = recorder(kit, async (_event, context) => {
      const { attempt, signal, deadlineMs } = context;
      if (attempt > 2) return;
      same(deadlineMs - kit.clock.now(), 1000, 'deadlineMs from the start');
      const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      await aborted;
      late.push(`aborted ${attempt}: ${(signal.reason as { code?: string }).code}`);
      // The first ends within its grace; the second hangs on, past it.
      if (attempt === 1) return;
      await new Promise<void>((resolve) => end.push(resolve));
      try {
        context.publish(happened('too-late'));
      } catch (error) {
        late.push((error as { code?: string }).code);
      }
    });
    await kit.start([handles(handler, { timeoutMs: 1000, retry: fixed({ delayMs: 0 }) })], {
      limits: { abortGraceMs: 500 },
    });
    await kit.bus.publish(happened('e', { key: 'k' }));
    await kit.advance(999);
    same([calls.length, late], [1, []], 'before the time is up');
    await kit.advance(1);
    await kit.until(() => calls.length === 2, 'the second attempt, right after the first one ended within its grace');
    same(late, ['aborted 1: CARILLON_HANDLER_TIMEOUT'], 'what the first one was told');
    await kit.advance(1000 + 499);
    same(calls.length, 2, 'attempts while the second has its grace');
    await kit.advance(1);
    await kit.until(() => calls.length === 3, 'the third attempt, after the grace');
    end[0]?.();
    await kit.until(() => late.length === 3, 'the end of the second');
    same(late.slice(1), ['aborted 2: CARILLON_HANDLER_TIMEOUT', 'CARILLON_LEASE_LOST'], 'what the second one was told');
    await kit.bus.drain();
    same(
      (await kit.log()).map(({ id }) => id),
      ['e'],
      'the log',
    );
  }),

  conformanceCase('G2-11', 'attempts that hang are fenced off each at its own time', async (kit) => {
    const { calls, handler } = recorder(kit, forever);
    const options = { timeoutMs: 30_000, concurrency: 2, retry: fixed({ delayMs: 1_000_000 }) };
    await kit.start([handles(handler, options)], { limits: { abortGraceMs: 5000 } });
    await kit.bus.publish(happened('a'));
    await kit.advance(10);
    await kit.bus.publish(happened('b'));
    await kit.bus.publish([happened('c'), happened('d')]);
    await kit.advance(34_990);
    same(
      calls.map(({ id }) => id),
      ['a', 'b', 'c'],
      'started once the first was fenced off',
    );
    await kit.advance(10);
    same(
      calls.map(({ id }) => id),
      ['a', 'b', 'c', 'd'],
      'started once the second was, 10 ms later',
    );
  }),

  conformanceCase(
    'G2-12',
    'what has expired, by strategy or by its own expirytime, is not handled any more',
    async (kit) => {
      const { handler, ids } = recorder(kit);
      await kit.start();
      const soon = new Date(kit.clock.now() + 5000).toISOString();
      const later = new Date(kit.clock.now() + 60_000).toISOString();
      await kit.bus.publish([happened('old'), happened('soon', { expirytime: soon })]);
      await kit.advance(10_000);
      await kit.bus.publish([happened('young'), happened('later', { expirytime: later })]);
      await kit.stop();
      await kit.start([handles(handler, { expiry: { maxAgeMs: 9000 } })]);
      await kit.bus.drain();
      same(ids().sort(), ['later', 'young'], 'handled');
      same((await kit.state()).expired, 2, 'expired');
      await kit.stop();
      const again = recorder(kit);
      await kit.start([handles(again.handler)]);
      await kit.bus.drain();
      same(again.ids(), [], 'handled after a restart without the expiry');
      same(await kit.bus.deadLetters.list(), [], 'dead letters');
    },
  ),

  conformanceCase('G2-13', 'filters of each dialect let through what they say, and nothing else', async (kit) => {
    const seen: Record<string, string[]> = {};
    const cases: Record<string, HandlerOptions> = {
      exact: { filter: { exact: { subject: 'a1' } } },
      prefix: { filter: { prefix: { subject: 'a' } } },
      suffix: { filter: { suffix: { subject: '1' } } },
      all: { filter: { all: [{ prefix: { subject: 'a' } }, { suffix: { subject: '1' } }] } },
      any: { filter: { any: [{ exact: { subject: 'a1' } }, { exact: { subject: 'b2' } }] } },
      not: { filter: { not: { prefix: { subject: 'a' } } } },
      extension: { filter: { exact: { level: '3' } } },
      list: { filter: [{ prefix: { subject: 'a' } }, { not: { exact: { subject: 'a1' } } }] },
    };
    const module = defineModule('suite', (m) => {
      for (const [name, options] of Object.entries(cases)) {
        m.handle('>', (event) => void (seen[name] ??= []).push(event.id), { ...options, name, order: 'total' });
      }
    });
    await kit.start([module]);
    for (const key of ['a1', 'a2', 'b1', 'b2'])
      await kit.bus.publish(happened(key, { key, ...(key === 'a2' ? { level: 3 } : {}) }));
    await kit.bus.drain();
    same(
      seen,
      {
        exact: ['a1'],
        prefix: ['a1', 'a2'],
        suffix: ['a1', 'b1'],
        all: ['a1'],
        any: ['a1', 'b2'],
        not: ['b1', 'b2'],
        extension: ['a2'],
        list: ['a2'],
      },
      'what passed',
    );
  }),

  conformanceCase(
    'G2-14',
    'a handler that fails, throws nonsense or hangs touches no other subscription',
    async (kit) => {
      const well = recorder(kit);
      const module = defineModule('suite', (m) => {
        m.handle('>', () => fail(), { name: 'fails', retry: noRetry() });
        m.handle('>', throwsNonsense, { name: 'rejects', retry: noRetry() });
        m.handle('>', forever, { name: 'hangs' });
        m.handle('>', well.handler, { name: 'h' });
      });
      await kit.start([module]);
      await kit.bus.publish(several(10, 'e', { key: 'k' }));
      await kit.until(() => well.calls.length === 10, 'the handling of the one that is well');
      await kit.until(() => kit.observations.filter((one) => one.kind === 'delivery-end').length === 30, 'all ends');
      same((await kit.bus.deadLetters.list()).length, 20, 'dead letters of the two that failed');
    },
  ),

  conformanceCase(
    'G2-15',
    'batches are as large as they may be and wait as long as they may, in order',
    async (kit) => {
      const sizes: string[][] = [];
      const options = { batch: { size: 3, waitMs: 1000 }, order: 'total' } as const;
      await kit.start([handlesBatches((events) => void sizes.push(events.map(({ id }) => id)), options)]);
      await kit.bus.publish(several(4, 'e'));
      await kit.until(() => sizes.length === 1, 'the first batch, which is full');
      await kit.advance(999);
      same(sizes, [['e1', 'e2', 'e3']], 'batches while the second waits for more');
      await kit.advance(1);
      await kit.until(() => sizes.length === 2, 'the second batch');
      same(sizes, [['e1', 'e2', 'e3'], ['e4']], 'batches');
    },
  ),

  conformanceCase('G2-16', 'of a batch that fails, only the event at fault is dead', async (kit) => {
    const handled: string[] = [];
    const batches: string[][] = [];
    await kit.start([
      handlesBatches(
        (events) => {
          batches.push(events.map(({ id }) => id));
          if (events.some(({ id }) => id === 'e3')) fail();
          handled.push(...events.map(({ id }) => id));
        },
        { batch: { size: 10 }, retry: fixed({ delayMs: 100, attemptsMax: 3 }) },
      ),
    ]);
    await kit.bus.publish(several(5, 'e'));
    await kit.advance(1000);
    same(handled.sort(), ['e1', 'e2', 'e4', 'e5'], 'handled');
    same((await onlyLetter(kit)).event.id, 'e3', 'the dead one');
    holds(
      batches.slice(1).every((batch) => batch.length === 1),
      'after the failure each is tried by itself',
    );
  }),

  conformanceCase(
    'G2-17',
    'what a handler publishes is appended with its acknowledgement, or not at all',
    async (kit) => {
      const { handler, calls } = recorder(kit, (event, context) => {
        if (event.type !== 'thing.happened') return undefined;
        context.publish(happened(`${event.id}-${context.attempt}`, { type: 'thing.followed' }));
        if (context.attempt === 1) fail();
        return event.id === 'crash' && context.attempt === 2 ? forever() : undefined;
      });
      const options = { retry: fixed({ delayMs: 10 }) };
      await kit.start([handles(handler, options)]);
      await kit.bus.publish(happened('fail'));
      await kit.bus.publish(happened('crash'));
      await kit.advance(10);
      await kit.until(
        () => calls.some(({ id, attempt }) => id === 'crash' && attempt === 2),
        'the attempt that is cut short',
      );
      await kit.settle();
      await kit.crash();
      await kit.start([handles(handler, options)]);
      await kit.advance(1000);
      await kit.bus.drain();
      same(
        (await kit.log()).map(({ id }) => id),
        ['fail', 'crash', 'fail-2', 'crash-3'],
        'the log: one follow-up each, of the attempt that went well',
      );
    },
  ),

  conformanceCase(
    'G2-18',
    'a crash right after the commit repeats neither the attempt nor what it published',
    async (kit) => {
      const { handler, calls } = recorder(kit, (event, context) => {
        if (event.type === 'thing.happened')
          context.publish(happened(`of-${event.id}-${context.attempt}`, { type: 'thing.followed' }));
      });
      await kit.start([handles(handler, {}, 'thing.happened')]);
      for (const event of several(20, 'e')) await kit.bus.publish(event);
      await kit.until(() => kit.observations.filter((one) => one.kind === 'delivery-end').length === 20, 'all handled');
      await kit.crash();
      await kit.start([handles(handler, {}, 'thing.happened')]);
      await kit.advance(1000);
      await kit.bus.drain();
      same(calls.length, 20, 'attempts over both lives');
      same((await kit.log()).length, 40, 'events in the log');
    },
  ),

  conformanceCase('G2-19', 'what a handler publishes says where it comes from', async (kit) => {
    const trace = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'a=b' };
    const { handler } = recorder(kit, (event, context) => {
      if (event.id === 'first') context.publish(happened('second'));
      if (event.id === 'second') {
        context.publish(happened('third', { correlationid: 'mine' }));
        context.publish(happened('fourth'));
      }
    });
    await kit.start([handles(handler)]);
    await kit.bus.publish(happened('first', trace));
    await kit.until(() => kit.observations.filter((one) => one.kind === 'delivery-end').length === 4, 'all four');
    same(
      (await kit.log()).map(({ id, correlationid, causationid, traceparent, tracestate }) => ({
        id,
        correlationid,
        causationid,
        traceparent,
        tracestate,
      })),
      [
        { id: 'first', ...trace },
        { id: 'second', correlationid: 'first', causationid: 'first', ...trace },
        { id: 'third', correlationid: 'mine', causationid: 'second', ...trace },
        { id: 'fourth', correlationid: 'first', causationid: 'second', ...trace },
      ],
      'correlation, causation and trace',
    );
  }),

  conformanceCase(
    'G2-20',
    'a crash buries nothing that no handler has seen, however few attempts there are',
    async (kit) => {
      for (const attemptsMax of [1, 2]) {
        const seen = new Set<string>();
        const options = { retry: fixed({ delayMs: 0, attemptsMax }), concurrency: 4 };
        const ids = several(40, `a${attemptsMax}-`).map(({ id }, n) => happened(id, { key: `k${n % 8}` }));
        for (let life = 0; life < 30 && seen.size < 40; life++) {
          const { handler } = recorder(kit, (event) => {
            seen.add(event.id);
            return forever();
          });
          const module = defineModule('suite', (m) => m.handle('>', handler, { ...options, name: `h${attemptsMax}` }));
          await kit.start([module]);
          if (life === 0) await kit.bus.publish(ids);
          await kit.settle();
          const dead = await kit.bus.deadLetters.list({ limit: 1000 });
          same(
            dead.filter(({ event }) => event.id.startsWith(`a${attemptsMax}-`) && !seen.has(event.id)),
            [],
            'dead and never seen',
          );
          await kit.crash();
        }
        same(seen.size, 40, 'seen in the end');
      }
    },
  ),

  conformanceCase(
    'G2-21',
    'processes that share a subscription handle each event once between them, and one that dies is replaced',
    async (kit) => {
      if (!kit.capabilities.shared) return refusesOthers(kit);
      const here = recorder(kit);
      const there = recorder(kit, (event) => (event.id.startsWith('cut') ? forever() : undefined));
      await kit.start([handles(here.handler, { concurrency: 4 })]);
      const other = await kit.beside([handles(there.handler, { concurrency: 4 })]);
      let published = 0;
      while (here.calls.length === 0 || there.calls.length === 0) {
        holds(published < 2000, 'both come to handle some');
        const events = Array.from({ length: 20 }, () => happened(`e${published}`, { key: `k${published++}` }));
        await kit.bus.publish(events);
        await kit.until(() => here.calls.length + there.calls.length === published, 'all');
      }
      const cut = Array.from({ length: 40 }, (_, n) => happened(`cut${n}`, { key: `cut${n}` }));
      await other.publish(cut);
      await kit.until(() => there.ids().some((id) => id.startsWith('cut')), 'attempts that will be cut short');
      await kit.kill(other);
      await kit.until(() => cut.every(({ id }) => here.ids().includes(id)), 'what the dead one left behind');
      await kit.bus.drain();
      const handled = [...here.ids(), ...there.ids().filter((id) => !id.startsWith('cut'))];
      same([handled.length, new Set(handled).size], [published + 40, published + 40], 'events handled, each once');
      const tried = there.ids().filter((id) => id.startsWith('cut'));
      const second = here.calls.filter(({ attempt }) => attempt > 1).map(({ id }) => id);
      same(
        tried.filter((id) => !second.includes(id)),
        [],
        'attempts cut short that were not counted',
      );
    },
    'shared',
  ),
];

/** What a handler of somebody else's may well do. */
function throwsNonsense(): never {
  const nonsense: unknown = null;
  throw nonsense as Error;
}
