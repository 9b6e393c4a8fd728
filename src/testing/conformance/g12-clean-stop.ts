import { defineModule, fixed, noRetry, type Transaction } from '../../core/index.ts';
import { holds, refused, same } from './check.ts';
import {
  conformanceCase,
  fail,
  forever,
  gate,
  handles,
  happened,
  recorder,
  several,
  type ConformanceCase,
  type Kit,
} from './kit.ts';

/** What handlers wrote into the application's own table, read by a handler with a transaction. */
async function written(kit: Kit): Promise<readonly unknown[]> {
  let rows: readonly unknown[] | undefined;
  const module = defineModule('reader', (m) =>
    m.handle(
      'suite.read',
      async (_event, { tx }) => {
        await createTable(tx);
        rows = await tx.all('SELECT id, attempt FROM suite_writes ORDER BY id, attempt');
      },
      { name: 'h', transaction: true },
    ),
  );
  await kit.start([module]);
  await kit.bus.publish(happened(`read-${kit.clock.now()}-${Math.random()}`, { type: 'suite.read' }));
  await kit.until(() => rows !== undefined, 'the rows');
  await kit.bus.drain();
  await kit.stop();
  return rows as readonly unknown[];
}

const createTable = (tx: Transaction): Promise<unknown> =>
  tx.run('CREATE TABLE IF NOT EXISTS suite_writes (id TEXT NOT NULL, attempt INTEGER NOT NULL)');

async function write(tx: Transaction, id: string, attempt: number): Promise<void> {
  await createTable(tx);
  await tx.run(`INSERT INTO suite_writes (id, attempt) VALUES ('${id}', ${attempt})`);
}

/** For an engine without the capability: the documented refusal, at the start of the bus. */
async function refusesTransactions(kit: Kit): Promise<void> {
  const error = await refused(
    'CARILLON_UNSUPPORTED',
    () => kit.start([handles(() => undefined, { transaction: true })]),
    'a handler that asks for a transaction',
  );
  same(error.details['capability'], 'transactions', 'the capability it names');
}

/** G12: `stop` drains; a clean stop and restart loses nothing and handles nothing twice; transactions. */
export const g12: readonly ConformanceCase[] = [
  conformanceCase('G12-1', 'stop lets attempts in hand end, and starts no others', async (kit) => {
    const held = gate();
    const { handler, ids } = recorder(kit, () => held.opened);
    await kit.start([handles(handler, { concurrency: 3 })]);
    await kit.bus.publish(several(10, 'e'));
    await kit.until(() => ids().length === 3, 'three attempts');
    let stopped = false;
    const stopping = kit.bus.stop().then(() => {
      stopped = true;
    });
    await kit.settle();
    same(stopped, false, 'stopped while they run');
    held.open();
    await stopping;
    same(ids(), ['e1', 'e2', 'e3'], 'attempts');
  }),

  conformanceCase(
    'G12-2',
    'a clean restart loses nothing, handles nothing twice and counts no attempt that did not run',
    async (kit) => {
      const events = Array.from({ length: 300 }, (_, n) => happened(`e${n}`, { key: `k${n % 7}` }));
      const calls: [string, number][] = [];
      for (let life = 0; calls.length < 300 && life < 100; life++) {
        let left = 37;
        const { handler } = recorder(kit, (event, { attempt }) => {
          calls.push([event.id, attempt]);
          if (--left === 0) void kit.bus.stop();
        });
        await kit.start([handles(handler, { concurrency: 5 })]);
        if (life === 0) await kit.bus.publish(events);
        await Promise.race([kit.bus.drain(), kit.until(() => left <= 0, 'the stop')]).catch(() => undefined);
        await kit.stop();
      }
      same(calls.map(([id]) => id).sort(), events.map(({ id }) => id).sort(), 'handled, each once');
      same(
        calls.filter(([, attempt]) => attempt !== 1),
        [],
        'attempts other than the first',
      );
    },
  ),

  conformanceCase(
    'G12-3',
    'attempts that outlast the deadline are aborted and told; they come again, counted',
    async (kit) => {
      const reasons: unknown[] = [];
      const first = recorder(kit, async (_event, { signal }) => {
        signal.addEventListener('abort', () => reasons.push((signal.reason as { code?: string }).code));
        await forever();
      });
      await kit.start([handles(first.handler)]);
      await kit.bus.publish(several(2, 'e', { key: 'k' }));
      await kit.until(() => first.calls.length === 1, 'the attempt');
      await refused('CARILLON_DRAIN_TIMEOUT', () => kit.stop({ deadlineMs: 3000 }), 'the stop');
      same(reasons, ['CARILLON_STOPPED'], 'what the handler was told');
      const second = recorder(kit);
      await kit.start([handles(second.handler)]);
      await kit.until(() => second.calls.length === 2, 'both');
      same(
        second.calls.map(({ id, attempt }) => [id, attempt]),
        [
          ['e1', 2],
          ['e2', 1],
        ],
        'attempts of the next life',
      );
    },
  ),

  conformanceCase('G12-4', 'a stopped bus refuses publishes, retryably; a second stop is the first', async (kit) => {
    const bus = await kit.start();
    await bus.publish(happened('e'));
    const stopping = bus.stop();
    const refusal = await refused('CARILLON_STOPPED', () => bus.publish(happened('f')), 'a publish while stopping');
    holds(refusal.retryable, 'it may be repeated');
    await Promise.all([stopping, bus.stop()]);
    await refused('CARILLON_STOPPED', () => bus.publish(happened('f')), 'a publish after');
    await refused('CARILLON_STOPPED', () => bus.subscribe('>', () => undefined, { name: 's' }), 'a subscription after');
    same((await bus.health()).status, 'stopped', 'health');
    await kit.crash();
    await kit.start();
    same(
      (await kit.log()).map(({ id }) => id),
      ['e'],
      'the log',
    );
  }),

  conformanceCase('G12-5', 'what was acknowledged or published before stop resolved is durable', async (kit) => {
    const first = recorder(kit, (event, context) => {
      if (event.type === 'thing.happened') context.publish(happened(`of-${event.id}`, { type: 'thing.followed' }));
    });
    await kit.start([handles(first.handler, {}, 'thing.happened')]);
    const publishing = several(50, 'e').map((event) => kit.bus.publish(event));
    await Promise.all(publishing);
    await kit.bus.drain();
    await kit.bus.stop();
    await kit.crash();
    const second = recorder(kit);
    await kit.start([handles(second.handler, {}, 'thing.happened')]);
    await kit.bus.drain();
    same([second.ids(), (await kit.log()).length], [[], 100], 'handled again, and events in the log');
  }),

  conformanceCase(
    'G12-6',
    'retries, held keys and dead letters are as they were after a clean restart',
    async (kit) => {
      const options = { retry: fixed({ delayMs: 60_000, attemptsMax: 3 }) };
      const first = recorder(kit, (event, context) => {
        if (event.id === 'dead') context.giveUp('at once');
        if (event.id === 'a1') fail();
      });
      await kit.start([handles(first.handler, options)]);
      await kit.bus.publish([...several(3, 'a', { key: 'a' }), happened('dead'), happened('b')]);
      await kit.until(() => first.ids().length === 3, 'the first attempts');
      await kit.settle();
      const before = await kit.state();
      await kit.stop();
      const second = recorder(kit);
      await kit.start([handles(second.handler, options)]);
      await kit.settle();
      const after = await kit.state();
      same(
        [after.retrying, after.held, after.dead, second.ids()],
        [before.retrying, before.held, before.dead, []],
        'retrying, held, dead, and handled',
      );
      same([after.retrying, after.held, after.dead], [1, 2, 1], 'as they should be');
      await kit.advance(60_000);
      await kit.until(() => second.ids().length === 3, 'the key');
      same(second.ids(), ['a1', 'a2', 'a3'], 'the key, in order');
    },
  ),

  conformanceCase('G12-7', 'stop within a deadline though a commit of an attempt is still under way', async (kit) => {
    const { handler, calls } = recorder(kit, (event, context) => {
      if (event.type === 'thing.happened') context.publish(happened(`of-${event.id}`, { type: 'thing.followed' }));
    });
    await kit.start([handles(handler, {}, 'thing.happened')]);
    await kit.bus.publish(several(5, 'e'));
    await kit.until(() => calls.length > 0, 'the attempts');
    await kit.stop({ deadlineMs: 0 }).catch(() => undefined);
    const again = recorder(kit, (event, context) => {
      if (event.type === 'thing.happened') context.publish(happened(`of-${event.id}`, { type: 'thing.followed' }));
    });
    await kit.start([handles(again.handler, {}, 'thing.happened')]);
    await kit.advance(1000);
    await kit.bus.drain();
    same((await kit.log()).length, 10, 'events in the log: each has its follow-up');
  }),

  conformanceCase(
    'G12-8',
    "the handler's writes, its publishes and its acknowledgement commit together",
    async (kit) => {
      if (!kit.capabilities.transactions) return refusesTransactions(kit);
      const { handler, calls } = recorder(kit, async (event, context) => {
        await write(context.tx, event.id, context.attempt);
        context.publish(happened(`of-${event.id}-${context.attempt}`, { type: 'thing.followed' }));
        if (event.id === 'e2' && context.attempt === 1) fail('after the write');
      });
      const module = handles(
        handler,
        { transaction: true, retry: fixed({ delayMs: 10 }), order: 'total' },
        'thing.happened',
      );
      await kit.start([module]);
      await kit.bus.publish(several(3, 'e'));
      const failed = (): boolean =>
        kit.observations.some((one) => one.kind === 'delivery-end' && one.outcome === 'retried');
      await kit.until(failed, 'the attempt that fails');
      await kit.advance(10);
      await kit.until(() => calls.length === 4, 'the attempts');
      await kit.bus.drain();
      same(
        (await kit.log()).map(({ id }) => id),
        ['e1', 'e2', 'e3', 'of-e1-1', 'of-e2-2', 'of-e3-1'],
        'the log',
      );
      await kit.stop();
      same(
        await written(kit),
        [
          { id: 'e1', attempt: 1 },
          { id: 'e2', attempt: 2 },
          { id: 'e3', attempt: 1 },
        ],
        'rows of the application',
      );
    },
    'transactions',
  ),

  conformanceCase(
    'G12-9',
    'a crash within a transaction leaves nothing of it; one after it repeats nothing',
    async (kit) => {
      if (!kit.capabilities.transactions) return refusesTransactions(kit);
      const first = recorder(kit, async (event, context) => {
        await write(context.tx, event.id, context.attempt);
        if (event.id === 'cut') await forever();
      });
      const options = { transaction: true, order: 'total' } as const;
      await kit.start([handles(first.handler, options, 'thing.happened')]);
      await kit.bus.publish([happened('done'), happened('cut')]);
      await kit.untilBusy(() => first.ids().includes('cut'), 'the second attempt');
      await kit.crash();
      const second = recorder(kit, (event, context) => write(context.tx, event.id, context.attempt));
      await kit.start([handles(second.handler, options, 'thing.happened')]);
      await kit.until(() => kit.observations.some((one) => one.kind === 'delivery-end'), 'the attempt after the crash');
      await kit.crash();
      const third = recorder(kit, (event, context) => write(context.tx, event.id, context.attempt));
      await kit.start([handles(third.handler, options, 'thing.happened')]);
      await kit.bus.drain();
      await kit.stop();
      same([second.ids(), third.ids()], [['cut'], []], 'handled after the crashes');
      same(
        await written(kit),
        [
          { id: 'cut', attempt: 2 },
          { id: 'done', attempt: 1 },
        ],
        'rows of the application',
      );
    },
    'transactions',
  ),

  conformanceCase(
    'G12-10',
    'a statement that fails undoes the attempt, and its neighbours go on',
    async (kit) => {
      if (!kit.capabilities.transactions) return refusesTransactions(kit);
      const { handler } = recorder(kit, async (event, context) => {
        await write(context.tx, event.id, context.attempt);
        if (event.id === 'bad') await context.tx.run('INSERT INTO no_such_table VALUES (1)');
      });
      // One at a time: databases do not all let two transactions make one table.
      await kit.start([handles(handler, { transaction: true, retry: noRetry(), concurrency: 1 }, 'thing.happened')]);
      await kit.bus.publish([happened('a'), happened('bad'), happened('b')]);
      await kit.bus.drain();
      const [letter] = await kit.bus.deadLetters.list();
      same(
        [letter?.event.id, letter?.attempts[0]?.error.code],
        ['bad', 'CARILLON_TRANSACTION_FAILED'],
        'the dead letter',
      );
      await kit.stop();
      same(
        await written(kit),
        [
          { id: 'a', attempt: 1 },
          { id: 'b', attempt: 1 },
        ],
        'rows of the application',
      );
    },
    'transactions',
  ),

  conformanceCase(
    'G12-11',
    'transactions and publishes get their turns though neither ever ends',
    async (kit) => {
      if (!kit.capabilities.transactions) return refusesTransactions(kit);
      let transactions = 0;
      let publishes = 0;
      let ending = false;
      const { handler } = recorder(kit, async (event, context) => {
        await write(context.tx, event.id, context.attempt);
        transactions++;
      });
      await kit.start([handles(handler, { transaction: true, concurrency: 8 }, 'thing.happened')]);
      const publishing = Array.from({ length: 8 }, async (_, producer) => {
        for (let n = 0; !ending; n++) {
          await kit.bus.publish([
            happened(`p${producer}-${n}`),
            ...several(40, `f${producer}-${n}-`, { type: 'thing.else' }),
          ]);
          publishes++;
        }
      });
      try {
        await kit.untilBusy(() => transactions >= 50 && publishes >= 50, `fifty of each`);
      } finally {
        ending = true;
        await Promise.allSettled(publishing);
      }
      await kit.bus.drain();
    },
    'transactions',
  ),

  conformanceCase('G12-12', 'tx is refused to a handler that did not ask for it', async (kit) => {
    let error: unknown;
    await kit.start([
      handles((_event, context) => {
        try {
          void context.tx;
        } catch (thrown) {
          error = thrown;
        }
      }),
    ]);
    await kit.bus.publish(happened('e'));
    await kit.bus.drain();
    same((error as { code?: string }).code, 'CARILLON_OPTION_INVALID', 'the refusal');
  }),
];
