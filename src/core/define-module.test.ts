import type { StandardSchemaV1 } from '@standard-schema/spec';
import { describe, expect, expectTypeOf, it } from 'vitest';
import type { HandlerOptions } from './bus.ts';
import { handlerName, strategyOf } from './declarations.ts';
import { defineEvent } from './define-event.ts';
import { defineModule } from './define-module.ts';
import { type ErrorCode, isCarillonError, type CarillonError } from './errors.ts';
import type { Event } from './event.ts';
import type { HandlerContext, SyncContext } from './handler.ts';
import type { Module, ModuleBuilder } from './module.ts';

const schemaOf = <T>(): StandardSchemaV1<T, T> => ({
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as T }) },
});

const VmStart = defineEvent('vm.start', { data: schemaOf<{ vm: string }>(), response: schemaOf<{ pid: number }>() });
const VmStop = defineEvent('vm.stop', { data: schemaOf<{ vm: string; force: boolean }>() });

function startMachine(): { pid: number } {
  return { pid: 1 };
}

function refused(code: ErrorCode, run: () => unknown): CarillonError {
  try {
    run();
  } catch (error) {
    if (isCarillonError(error, code)) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

const withHandlers = (declare: (m: ModuleBuilder) => void): Module => defineModule('machines', declare);
const namesOf = (module: Module): string[] => module.handlers.map(handlerName);

describe('defineModule', () => {
  it('collects what setup declares, in order, and freezes it', () => {
    const onStart = (): void => undefined;
    const module = defineModule('machines', (m) => {
      m.events(VmStop, VmStop);
      m.handle(VmStart, startMachine, { concurrency: 8, filter: { exact: { subject: 'a' } } });
      m.handleSync('vm.>', () => undefined, { name: 'guard' });
      m.handleBatch('audit.*', () => undefined, { batch: { size: 5 } });
      m.onStart(onStart);
      m.dependsOn('a', 'b', 'a');
    });
    expect(module.moduleId).toBe('machines');
    expect(module.definitions).toEqual([VmStop, VmStart]);
    expect(module.handlers.map(({ kind, target }) => [kind, target])).toEqual([
      ['async', VmStart],
      ['sync', 'vm.>'],
      ['batch', 'audit.*'],
    ]);
    expect(module.handlers[0]?.options).toEqual({ concurrency: 8, filter: { exact: { subject: 'a' } } });
    expect(module.start).toEqual([onStart]);
    expect(module.dependsOn).toEqual(['a', 'b']);
    expect([module, ...Object.values(module)].every(Object.isFrozen)).toBe(true);
  });

  it('takes options as well', () => {
    const module = defineModule('m', {
      events: [VmStart],
      dependsOn: ['a'],
      onHealth: () => ({ healthy: true }),
      setup: (m) => m.handle(VmStop, startMachine),
    });
    expect(module).toMatchObject({ definitions: [VmStart, VmStop], dependsOn: ['a'] });
    expect(module.health).toHaveLength(1);
    expect(defineModule('m', {}).handlers).toEqual([]);
  });

  it.each(['', 'a.b', 'a b', 'a*', '>', 'x'.repeat(101), 7, undefined])('refuses the name %j', (name) => {
    expect(refused('CARILLON_MODULE_INVALID', () => defineModule(name as string, {})).code).toBe(
      'CARILLON_MODULE_INVALID',
    );
  });

  it.each(['machines', 'a_b-1', '虚拟机'])('takes the name %j', (name) => {
    expect(defineModule(name, {}).moduleId).toBe(name);
  });

  it('refuses a builder used too late, and an async setup', () => {
    let builder: ModuleBuilder | undefined;
    withHandlers((m) => {
      builder = m;
    });
    expect(refused('CARILLON_MODULE_INVALID', () => builder?.handle(VmStart, startMachine)).code).toBe(
      'CARILLON_MODULE_INVALID',
    );
    expect(refused('CARILLON_MODULE_INVALID', () => builder?.dependsOn('a')).code).toBe('CARILLON_MODULE_INVALID');
    const message = refused('CARILLON_MODULE_INVALID', () =>
      withHandlers((): unknown => Promise.reject(new Error('late'))),
    ).message;
    expect(message).toContain('must not be async');
  });

  it.each<[ErrorCode, (m: ModuleBuilder) => void]>([
    ['CARILLON_MODULE_INVALID', (m) => m.handle([], startMachine as never)],
    ['CARILLON_MODULE_INVALID', (m) => m.handle({} as never, startMachine as never)],
    ['CARILLON_MODULE_INVALID', (m) => m.handle(['vm.start'] as never, startMachine as never)],
    ['CARILLON_MODULE_INVALID', (m) => m.handle(VmStart, undefined as never)],
    ['CARILLON_MODULE_INVALID', (m) => m.handle(VmStart, startMachine, 5 as never)],
    ['CARILLON_MODULE_INVALID', (m) => m.handle([VmStart, VmStop], () => undefined as never)],
    ['CARILLON_MODULE_INVALID', (m) => m.handle(VmStart, startMachine, { name: 'a b' })],
    ['CARILLON_MODULE_INVALID', (m) => m.onStart(5 as never)],
    ['CARILLON_MODULE_INVALID', (m) => m.dependsOn('a.b')],
    ['CARILLON_PATTERN_INVALID', (m) => m.handle('a..b', startMachine)],
    ['CARILLON_FILTER_INVALID', (m) => m.handle(VmStart, startMachine, { filter: { all: [] } })],
    ['CARILLON_FILTER_INVALID', (m) => m.handleSync(VmStart, startMachine, { filter: { all: [] } })],
    ['CARILLON_STRATEGY_INVALID', (m) => m.handle(VmStart, startMachine, { timeoutMs: 0 })],
    ['CARILLON_STRATEGY_INVALID', (m) => m.handle(VmStart, startMachine, { batch: { size: 1 } })],
    ['CARILLON_STRATEGY_INVALID', (m) => m.handle(VmStart, startMachine, { retries: 5 } as HandlerOptions)],
    ['CARILLON_OPTION_INVALID', (m) => m.handle(VmStart, startMachine, { from: 'end' as never })],
    ['CARILLON_OPTION_INVALID', (m) => m.handle(VmStart, startMachine, { from: { position: -1 } })],
    ['CARILLON_OPTION_INVALID', (m) => m.handle(VmStart, startMachine, { transaction: 1 as never })],
    ['CARILLON_OPTION_INVALID', (m) => m.handleSync(VmStart, startMachine, { timeoutMs: 5 } as never)],
    ['CARILLON_TYPE_CONFLICT', (m) => m.events(VmStart, defineEvent('vm.start'))],
    ['CARILLON_HANDLER_CONFLICT', (m) => [VmStart, VmStop].forEach((event) => m.handle(event, startMachine))],
    [
      'CARILLON_HANDLER_CONFLICT',
      (m) => {
        m.handle('vm.start', () => undefined);
        m.handleSync('vm.start', () => undefined);
      },
    ],
  ])('refuses with %s: %s', (code, declare) => {
    expect(refused(code, () => withHandlers(declare)).code).toBe(code);
  });

  it('names the handler at fault', () => {
    const error = refused('CARILLON_STRATEGY_INVALID', () =>
      withHandlers((m) => m.handle(VmStart, startMachine, { timeoutMs: 0 })),
    );
    expect(error.message).toContain('machines.startMachine');
  });
});

describe('handlerName', () => {
  it('is the option, the name of the function, or what the handler asks for', () => {
    class Machines {
      stop(): void {}
    }
    const module = withHandlers((m) => {
      m.handle(VmStart, startMachine, { name: 'vm.boot' });
      m.handle(VmStart, startMachine);
      m.handle(VmStart, () => ({ pid: 1 }));
      m.handle('vm.*', () => undefined);
      m.handle([VmStart, VmStop], startMachine.bind(null), { name: 'both' });
      const machines = new Machines();
      m.handle(VmStop, machines.stop.bind(machines));
      m.handle(
        'x',
        Object.defineProperty(() => 1, 'name', { value: 'anonymous' }),
      );
    });
    expect(namesOf(module)).toEqual(['vm.boot', 'startMachine', 'vm.start', 'vm.*', 'both', 'stop', 'x']);
  });
});

describe('strategyOf', () => {
  it('leaves out what is the handler’s own', () => {
    expect(strategyOf({ name: 'a', from: 'now', filter: [], transaction: true, order: 'none', timeoutMs: 5 })).toEqual({
      order: 'none',
      timeoutMs: 5,
    });
  });
});

describe('types', () => {
  it('flow from the definition to the handler', () => {
    defineModule('typed', (m) => {
      m.handle(VmStart, (event, context) => {
        expectTypeOf(event).toEqualTypeOf<Event<{ vm: string }, 'vm.start'>>();
        expectTypeOf(context).toEqualTypeOf<HandlerContext>();
        return { pid: 1 };
      });
      m.handle(
        [VmStart, VmStop],
        (event) => {
          expectTypeOf(event.data).toEqualTypeOf<{ vm: string } | { vm: string; force: boolean }>();
          expectTypeOf(event.type).toEqualTypeOf<'vm.start' | 'vm.stop'>();
          return { pid: 1 };
        },
        { name: 'both' },
      );
      m.handleBatch(
        VmStop,
        (events) => {
          expectTypeOf(events).toEqualTypeOf<readonly Event<{ vm: string; force: boolean }, 'vm.stop'>[]>();
        },
        { name: 'batch' },
      );
      m.handleSync(
        VmStop,
        async (event, context) => {
          expectTypeOf(event.data.force).toEqualTypeOf<boolean>();
          expectTypeOf(context).toEqualTypeOf<SyncContext>();
        },
        { name: 'sync' },
      );
      m.handle('vm.*', (event) => {
        expectTypeOf(event.data).toEqualTypeOf<unknown>();
        expectTypeOf(event.type).toEqualTypeOf<string>();
      });
      // @ts-expect-error the response of vm.start is { pid: number }
      m.handle(VmStart, () => ({ pid: 'one' }), { name: 'wrong' });
    });
  });
});
