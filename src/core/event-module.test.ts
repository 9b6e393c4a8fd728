import type { StandardSchemaV1 } from '@standard-schema/spec';
import { describe, expect, expectTypeOf, it } from 'vitest';
import type { Bus, PublishOptions } from './bus.ts';
import { handlerName } from './declarations.ts';
import { defineEvent } from './define-event.ts';
import { isCarillonError, type CarillonError, type ErrorCode } from './errors.ts';
import type { Event } from './event.ts';
import { EventModule, ModuleBase } from './event-module.ts';
import type { HandlerContext, SyncContext } from './handler.ts';
import { silentLogger } from './logger.ts';
import type { Module, ModuleContext } from './module.ts';
import { orderModules } from './module-order.ts';

const named: StandardSchemaV1<{ name: string }, { name: string }> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) =>
      typeof (value as { name?: unknown } | undefined)?.name === 'string'
        ? { value: value as { name: string } }
        : { issues: [{ message: 'wants a name' }] },
  },
};
const DatabaseCreate = defineEvent('database.create', { description: 'A database is wanted', data: named });

function refused(code: ErrorCode, run: () => unknown): CarillonError {
  try {
    run();
  } catch (error) {
    if (isCarillonError(error, code)) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

/** Stands for a bus: notes what is published. */
function context(): ModuleContext & { readonly published: [Event, PublishOptions | undefined][] } {
  const published: [Event, PublishOptions | undefined][] = [];
  const publish = (event: Event, options?: PublishOptions): Promise<void> => {
    published.push([event, options]);
    return Promise.resolve();
  };
  return { published, log: silentLogger, bus: { publish } as unknown as Bus };
}

const start = async (module: Module, given: ModuleContext): Promise<void> => {
  for (const hook of module.start) await hook(given);
};

class DatabaseModule extends EventModule {
  readonly calls: string[] = [];

  constructor() {
    super({ dependsOn: ['storage'] });
    this.addEvent('createEvent', 'This is a create event', 10_000);
    this.addEvent('updateEvent', 'This is an update event', '2023-03-16T12:30:00Z');
    this.addEvent('deleteEvent', 'This is a delete event');
    this.addEvent(DatabaseCreate, undefined, new Date(5), { name: 'mydb' });
    this.on(DatabaseCreate, this.create.bind(this));
    this.handleSync('database.>', () => undefined, { name: 'guard' });
  }

  create(): void {
    this.calls.push('create');
  }

  override onStart(): void {
    this.calls.push('start');
  }

  override onStop(): void {
    this.calls.push('stop');
  }

  override onHealth(): { healthy: boolean } {
    return { healthy: false };
  }
}

describe('EventModule', () => {
  it('is a module', async () => {
    const module = new DatabaseModule();
    expectTypeOf(module).toExtend<Module>();
    expect(module.moduleId).toBe('database-module');
    expect(module.eventsKey).toBe('database-module-events');
    expect(module.mode).toBe('async');
    expect(module.dependsOn).toEqual(['storage']);
    expect(module.definitions).toEqual([DatabaseCreate]);
    expect(module.handlers.map((one) => [one.kind, handlerName(one)])).toEqual([
      ['async', 'create'],
      ['sync', 'guard'],
    ]);
    await start(module, context());
    for (const hook of module.stop) await hook(context());
    expect(module.calls).toEqual(['start', 'stop']);
    expect(await module.health[0]?.()).toEqual({ healthy: false });
  });

  it('gives its events as a frozen record, without calling itself', () => {
    const { events } = new DatabaseModule();
    expect(Object.keys(events)).toEqual(['createEvent', 'updateEvent', 'deleteEvent', 'database.create']);
    expect(events['createEvent']).toEqual({ type: 'createEvent', description: 'This is a create event', time: 10_000 });
    expect(events['deleteEvent']?.time).toBeUndefined();
    expect(events['database.create']?.description).toBe('A database is wanted');
    expect(Object.isFrozen(events) && Object.isFrozen(events['createEvent'])).toBe(true);
    const strange = new EventModule();
    strange.addEvent('__proto__');
    expect(Object.keys(strange.events)).toEqual(['__proto__']);
  });

  it('publishes timed events when it starts, under the same ids after a restart', async () => {
    const [first, second] = [context(), context()];
    await start(new DatabaseModule(), first);
    await start(new DatabaseModule(), second);
    expect(first.published.map(([event, options]) => [event.id, event.type, event.data, options])).toEqual([
      ['database-module-events:createEvent', 'createEvent', null, { delayMs: 10_000 }],
      ['database-module-events:updateEvent', 'updateEvent', null, { at: '2023-03-16T12:30:00Z' }],
      ['database-module-events:database.create', 'database.create', { name: 'mydb' }, { at: 5 }],
    ]);
    const identities = ({ published }: typeof first): string[] =>
      published.map(([event]) => `${event.source} ${event.id}`);
    expect(identities(second)).toEqual(identities(first));
  });

  it('may be filled from outside until it is started', async () => {
    const module = new EventModule({ moduleId: 'm' });
    module.addEvent('createEvent', 'This is a create event', 10_000);
    await start(module, context());
    expect(refused('CARILLON_MODULE_INVALID', () => module.addEvent('late')).code).toBe('CARILLON_MODULE_INVALID');
    expect(refused('CARILLON_MODULE_INVALID', () => module.on('late', () => undefined)).code).toBe(
      'CARILLON_MODULE_INVALID',
    );
  });

  it.each<[ErrorCode, (module: EventModule) => void]>([
    ['CARILLON_MODULE_INVALID', (module) => ['a', 'a'].forEach((type) => module.addEvent(type))],
    ['CARILLON_MODULE_INVALID', (module) => module.addEvent('a', 'b', -1)],
    ['CARILLON_MODULE_INVALID', (module) => module.addEvent('a', 'b', Number.NaN)],
    ['CARILLON_MODULE_INVALID', (module) => module.addEvent('a', 'b', new Date('no'))],
    ['CARILLON_MODULE_INVALID', (module) => module.addEvent('a', 'b', '2023-03-16 12:30:00')],
    ['CARILLON_TYPE_INVALID', (module) => module.addEvent('a.*')],
    ['CARILLON_DATA_INVALID', (module) => module.addEvent(DatabaseCreate, undefined, 5)],
    ['CARILLON_HANDLER_CONFLICT', (module) => ['a', 'a'].forEach((type) => module.on(type, () => undefined))],
    ['CARILLON_STRATEGY_INVALID', (module) => module.on('a', () => undefined, { timeoutMs: 0 })],
  ])('refuses with %s: %s', (code, declare) => {
    expect(refused(code, () => declare(new EventModule())).code).toBe(code);
  });

  it('keeps a declaration out after a refused one', async () => {
    const module = new EventModule();
    expect(refused('CARILLON_MODULE_INVALID', () => module.addEvent('a', 'b', -1)).code).toBe(
      'CARILLON_MODULE_INVALID',
    );
    expect(Object.keys(module.events)).toEqual([]);
  });

  it('declares handlers by its mode', () => {
    class Guards extends EventModule<'sync'> {
      constructor() {
        super({ mode: 'sync' });
        this.on(DatabaseCreate, (event, given) => {
          expectTypeOf(event.data).toEqualTypeOf<{ name: string }>();
          expectTypeOf(given).toEqualTypeOf<SyncContext>();
        });
        this.handle('other', (_event, given) => {
          expectTypeOf(given).toEqualTypeOf<HandlerContext>();
        });
        this.handleBatch('many', () => undefined);
        // @ts-expect-error a sync handler has no time-out of its own
        expect(refused('CARILLON_OPTION_INVALID', () => this.on('x', () => undefined, { timeoutMs: 5 })).code).toBe(
          'CARILLON_OPTION_INVALID',
        );
      }
    }
    expect(new Guards().handlers.map(({ kind }) => kind)).toEqual(['sync', 'async', 'batch']);
    expect(refused('CARILLON_MODULE_INVALID', () => new EventModule({ mode: 'both' as 'async' })).code).toBe(
      'CARILLON_MODULE_INVALID',
    );
    // @ts-expect-error a sync module has to say so to the program, too
    expect(new EventModule<'sync'>().mode).toBe('async');
    new EventModule().on(DatabaseCreate, (event, given) => {
      expectTypeOf(event.type).toEqualTypeOf<'database.create'>();
      expectTypeOf(given).toEqualTypeOf<HandlerContext>();
    });
  });
});

describe('moduleId', () => {
  const idOf = (Made: new () => Module): string => new Made().moduleId;

  it('is the name of the class in kebab-case', () => {
    class VMManager extends EventModule {}
    class HTTPServer2Module extends EventModule {}
    class plain extends ModuleBase {}
    expect([VMManager, HTTPServer2Module, plain, EventModule].map(idOf)).toEqual([
      'vm-manager',
      'http-server2-module',
      'plain',
      'event-module',
    ]);
  });

  it('may be given, or overridden by a field', () => {
    class Overridden extends EventModule {
      override readonly moduleId = 'mine';

      constructor() {
        super();
        this.addEvent('a', 'b', 0);
      }
    }
    expect(new Overridden().eventsKey).toBe('mine-events');
    expect(new EventModule({ moduleId: 'given' }).moduleId).toBe('given');
  });

  it('is refused where there is none', () => {
    const module = new (class extends EventModule {})();
    expect(refused('CARILLON_MODULE_INVALID', () => module.handlers).code).toBe('CARILLON_MODULE_INVALID');
    expect(refused('CARILLON_MODULE_INVALID', () => orderModules([module])).code).toBe('CARILLON_MODULE_INVALID');
  });
});
