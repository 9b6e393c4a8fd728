import type { AnyEventDefinition } from './define.ts';
import { assertModuleName, collectDeclarations } from './declarations.ts';
import { carillonError } from './errors.ts';
import type { Module, ModuleBuilder, ModuleContext, ModuleHealth } from './module.ts';
import { shown } from './option-problems.ts';

/** A module as {@link defineModule} takes it, where more is to be said than handlers. */
export interface ModuleOptions {
  /** Makes event types known to the bus; those that handlers name are known anyway. */
  readonly events?: readonly AnyEventDefinition[];
  /** Names of modules that must have started before this one. */
  readonly dependsOn?: readonly string[];
  readonly onStart?: (context: ModuleContext) => unknown;
  readonly onStop?: (context: ModuleContext) => unknown;
  readonly onHealth?: () => ModuleHealth | Promise<ModuleHealth>;
  /** Declares the handlers. */
  readonly setup?: (m: ModuleBuilder) => void;
}

/**
 * Defines a module: events, handlers and lifecycle under one name. `setup` runs at once and everything it declares is
 * checked at once, strategies included. The module is frozen and holds no state: several buses may run it.
 *
 * Fails with `CARILLON_MODULE_INVALID` (also when the builder is used after `setup` has returned),
 * `CARILLON_HANDLER_CONFLICT`, `CARILLON_TYPE_CONFLICT`, `CARILLON_PATTERN_INVALID`, `CARILLON_FILTER_INVALID`,
 * `CARILLON_STRATEGY_INVALID`, `CARILLON_OPTION_INVALID`.
 *
 * The name is durable: async handlers are subscribed as `module.handler`, and a module renamed starts anew.
 */
export function defineModule(name: string, setup: ModuleOptions | ((m: ModuleBuilder) => void)): Module {
  assertModuleName(name);
  const refuse = (problem: string): never => {
    throw carillonError('CARILLON_MODULE_INVALID', `module "${name}": ${problem}`, { module: name });
  };
  if (typeof setup !== 'function' && (typeof setup !== 'object' || setup === null)) {
    refuse(`needs a setup function or options, not ${shown(setup)}`);
  }
  const declared = collectDeclarations(name);
  const dependsOn = new Set<string>();
  const start: Module['start'][number][] = [];
  const stop: Module['stop'][number][] = [];
  const health: Module['health'][number][] = [];
  let open = true;

  /** What is declared too late would be silently missing from the module. */
  const whileOpen = <Given extends readonly unknown[]>(declare: (...given: Given) => void) => {
    return (...given: Given): void => {
      if (!open) refuse('its builder was used after setup had returned');
      declare(...given);
    };
  };
  const hookInto = <Hook>(hooks: Hook[], of: string): ((hook: Hook) => void) =>
    whileOpen((hook: Hook) => {
      if (typeof hook !== 'function') refuse(`${of} takes a function, not ${shown(hook)}`);
      hooks.push(hook);
    });

  const builder: ModuleBuilder = {
    events: whileOpen((...definitions: readonly AnyEventDefinition[]) => {
      for (const definition of definitions) declared.define(definition);
    }),
    handle: whileOpen((target, handler, options) => declared.handle('async', target, handler, options)),
    handleBatch: whileOpen((target, handler, options) => declared.handle('batch', target, handler, options)),
    handleSync: whileOpen((target, handler, options) => declared.handle('sync', target, handler, options)),
    onStart: hookInto(start, 'onStart'),
    onStop: hookInto(stop, 'onStop'),
    onHealth: hookInto(health, 'onHealth'),
    dependsOn: whileOpen((...modules: readonly string[]) => {
      for (const module of modules) {
        assertModuleName(module);
        dependsOn.add(module);
      }
    }),
  };

  run(builder, typeof setup === 'function' ? { setup } : setup, refuse);
  open = false;
  return Object.freeze({
    moduleId: name,
    definitions: declared.definitions,
    handlers: declared.handlers,
    dependsOn: Object.freeze([...dependsOn]),
    start: Object.freeze(start),
    stop: Object.freeze(stop),
    health: Object.freeze(health),
  });
}

const optionNames = ['events', 'dependsOn', 'onStart', 'onStop', 'onHealth', 'setup'];

function run(builder: ModuleBuilder, options: ModuleOptions, refuse: (problem: string) => never): void {
  for (const name of Object.keys(options)) if (!optionNames.includes(name)) refuse(`"${name}" is no option`);
  builder.events(...(options.events ?? []));
  builder.dependsOn(...(options.dependsOn ?? []));
  const { onStart, onStop, onHealth, setup } = options;
  if (onStart !== undefined) builder.onStart(onStart);
  if (onStop !== undefined) builder.onStop(onStop);
  if (onHealth !== undefined) builder.onHealth(onHealth);
  const returned: unknown = setup?.(builder);
  // What follows the first `await` of an async setup would come after the module is complete.
  if (typeof (returned as PromiseLike<unknown> | undefined)?.then === 'function') {
    (returned as Promise<unknown>).then(undefined, () => undefined);
    refuse('its setup must not be async: what takes time belongs into onStart');
  }
}
