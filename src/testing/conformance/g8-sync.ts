import { defineModule, type ModuleBuilder } from '../../core/index.ts';
import { holds, refused, same } from './check.ts';
import { conformanceCase, fail, forever, happened, recorder, type ConformanceCase } from './kit.ts';

const suite = (setup: (m: ModuleBuilder) => void) => defineModule('suite', setup);

/** G8: sync handlers run inside `publish`, in declared order, before the event is durable. */
export const g8: readonly ConformanceCase[] = [
  conformanceCase(
    'G8-1',
    'they run in the order of declaration, one after the other, before the event is stored',
    async (kit) => {
      const told: string[] = [];
      const sync = (name: string) => async (): Promise<void> => {
        told.push(`${name} with ${(await kit.bus.ends()).last} stored`);
        await Promise.resolve();
        told.push(`${name} ends`);
      };
      const first = suite((m) => {
        m.handleSync('thing.>', sync('a'), { name: 'a' });
        m.handleSync('thing.happened', sync('b'), { name: 'b' });
      });
      const second = defineModule('second', (m) => m.handleSync('>', sync('c'), { name: 'c' }));
      await kit.start([first, second]);
      await kit.bus.publish(happened('e'));
      same(
        told,
        ['a with 0 stored', 'a ends', 'b with 0 stored', 'b ends', 'c with 0 stored', 'c ends'],
        'calls in their order',
      );
      same((await kit.bus.ends()).last, 1, 'stored after them');
    },
  ),

  conformanceCase('G8-2', 'a throw refuses the publish: nothing is stored, later handlers do not run', async (kit) => {
    let later = 0;
    await kit.start([
      suite((m) => {
        m.handleSync('>', (event) => (event.subject === 'bad' ? fail('no such machine') : undefined), { name: 'gate' });
        m.handleSync('>', () => void later++, { name: 'later' });
      }),
    ]);
    const error = await refused('CARILLON_REFUSED', () => kit.bus.publish(happened('e', { key: 'bad' })), 'a bad one');
    same(
      [(error.cause as Error).message, error.details['handler']],
      ['no such machine', 'suite.gate'],
      'what it tells',
    );
    same([(await kit.log()).length, later], [0, 0], 'stored, and later handlers');
    await kit.bus.publish(happened('e', { key: 'good' }));
    same([(await kit.log()).length, later], [1, 1], 'the same id, once it is good');
  }),

  conformanceCase(
    'G8-3',
    'what they publish joins the same atomic batch, with sync handlers of its own',
    async (kit) => {
      let refuse = false;
      const { handler, ids } = recorder(kit);
      await kit.start([
        suite((m) => {
          m.handleSync(
            'thing.happened',
            (event, context) => context.publish(happened(`${event.id}-1`, { type: 'thing.first' })),
            { name: 'one' },
          );
          m.handleSync(
            'thing.first',
            (event, context) => {
              context.publish(happened(`${event.id}-2`, { type: 'thing.second' }));
              if (refuse) fail();
            },
            { name: 'two' },
          );
          m.handle('>', handler, { name: 'h', order: 'total' });
        }),
      ]);
      const published = await kit.bus.publish(happened('e'));
      same(published.id, 'e', 'what publish resolves with');
      refuse = true;
      await refused(
        'CARILLON_REFUSED',
        () => kit.bus.publish(happened('f')),
        'a publish of which a joined event is refused',
      );
      await kit.bus.drain();
      const log = await kit.log();
      same(
        log.map(({ id }) => id),
        ['e', 'e-1', 'e-1-2'],
        'the log',
      );
      same(
        log.map(({ causationid }) => causationid),
        [undefined, 'e', 'e-1'],
        'causes',
      );
      same(ids(), ['e', 'e-1', 'e-1-2'], 'handled');
    },
  ),

  conformanceCase('G8-4', 'they share a budget of time, after which the publish is refused', async (kit) => {
    await kit.start([suite((m) => m.handleSync('>', forever, { name: 'hangs' }))], { limits: { syncBudgetMs: 2000 } });
    let outcome: unknown = 'none yet';
    const publishing = kit.bus.publish(happened('e')).catch((error: unknown) => {
      outcome = error;
      throw error;
    });
    publishing.catch(() => undefined);
    await kit.advance(1999);
    same(outcome, 'none yet', 'within the budget');
    await kit.advance(1);
    const error = await refused('CARILLON_SYNC_TIMEOUT', () => publishing, 'past the budget');
    holds(error.retryable, 'it may be repeated');
    same(await kit.log(), [], 'the log');
  }),

  conformanceCase('G8-5', 'emit runs them at once, stores nothing, and throws what they throw', async (kit) => {
    const told: string[] = [];
    const { handler, calls } = recorder(kit);
    await kit.start([
      suite((m) => {
        m.handleSync('>', (event, context) => void told.push(`a ${event.id} ${context.mode}`), { name: 'a' });
        m.handleSync('>', (event) => (event.subject === 'bad' ? fail('as it is') : void told.push(`b ${event.id}`)), {
          name: 'b',
        });
        m.handle('>', handler, { name: 'h', from: 'beginning' });
      }),
    ]);
    const result = kit.bus.emit(happened('e'));
    same([result === undefined, told], [true, ['a e emit', 'b e']], 'when emit has returned');
    const error = ((): unknown => {
      try {
        return kit.bus.emit(happened('f', { key: 'bad' }));
      } catch (thrown) {
        return thrown;
      }
    })();
    same((error as Error).message, 'as it is', 'what emit threw');
    await kit.settle();
    same([(await kit.log()).length, calls.length], [0, 0], 'stored, and seen by async handlers');
  }),

  conformanceCase(
    'G8-6',
    'emit with a handler that is asynchronous gives a promise, in the same order',
    async (kit) => {
      const told: string[] = [];
      await kit.start([
        suite((m) => {
          m.handleSync(
            '>',
            async () => {
              await Promise.resolve();
              told.push('a');
            },
            { name: 'a' },
          );
          m.handleSync('>', () => void told.push('b'), { name: 'b' });
          m.handleSync('thing.stored', (_event, context) => context.publish(happened('x')), { name: 'c' });
        }),
      ]);
      await kit.bus.emit(happened('e'));
      same(told, ['a', 'b'], 'order');
      await refused(
        'CARILLON_EMIT_PUBLISH',
        () => kit.bus.emit(happened('f', { type: 'thing.stored' })),
        'a handler that publishes',
      );
    },
  ),

  conformanceCase('G8-7', 'they see also what handlers publish, and a refusal there fails the attempt', async (kit) => {
    const { handler, calls } = recorder(kit, (event, context) => {
      if (event.type === 'thing.happened')
        context.publish(happened(`of-${event.id}`, { type: 'thing.followed', key: `attempt-${context.attempt}` }));
    });
    await kit.start([
      suite((m) => {
        m.handleSync('thing.followed', (event) => (event.subject === 'attempt-1' ? fail() : undefined), {
          name: 'gate',
        });
        m.handle('thing.happened', handler, { name: 'h', retry: { kind: 'fixed', delayMs: 10 } });
      }),
    ]);
    await kit.bus.publish(happened('e'));
    await kit.advance(10);
    await kit.bus.drain();
    same(
      calls.map(({ attempt }) => attempt),
      [1, 2],
      'attempts',
    );
    same(
      (await kit.log()).map(({ id, subject }) => [id, subject]),
      [
        ['e', undefined],
        ['of-e', 'attempt-2'],
      ],
      'the log',
    );
  }),

  conformanceCase('G8-8', 'filters hold for them, too', async (kit) => {
    const told: string[] = [];
    await kit.start([
      suite((m) =>
        m.handleSync('>', (event) => void told.push(event.id), { name: 'a', filter: { prefix: { subject: 'x' } } }),
      ),
    ]);
    await kit.bus.publish([happened('1', { key: 'xa' }), happened('2', { key: 'a' }), happened('3')]);
    kit.bus.emit(happened('4', { key: 'xb' })) as undefined;
    same(told, ['1', '4'], 'seen');
  }),

  conformanceCase(
    'G8-9',
    'they run when an event is scheduled: a refusal schedules nothing, what they add is due with it',
    async (kit) => {
      await kit.start([
        suite((m) =>
          m.handleSync(
            'thing.happened',
            (event, context) => {
              if (event.subject === 'bad') fail();
              context.publish(happened(`of-${event.id}`, { type: 'thing.followed' }));
            },
            { name: 'gate' },
          ),
        ),
      ]);
      await refused(
        'CARILLON_REFUSED',
        () => kit.bus.publish(happened('bad', { key: 'bad' }), { delayMs: 1000 }),
        'a bad one',
      );
      await kit.bus.publish(happened('good'), { delayMs: 1000 });
      await kit.advance(999);
      same(await kit.log(), [], 'the log before');
      await kit.advance(1);
      same((await kit.log()).map(({ id }) => id).sort(), ['good', 'of-good'], 'the log then');
    },
  ),
];
