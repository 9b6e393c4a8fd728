import type {
  BatchHandlerFor,
  HandlerFor,
  HandlerOptions,
  PublishOptions,
  SyncHandlerFor,
  SyncHandlerOptions,
  Target,
} from './bus.ts';
import { timestampMs } from './cloudevents/timestamp.ts';
import {
  assertModuleName,
  collectDeclarations,
  type AnyHandler,
  type Declaration,
  type Declarations,
} from './declarations.ts';
import { defineEvent } from './define-event.ts';
import type { AnyEventDefinition } from './define.ts';
import { carillonError } from './errors.ts';
import type { Event } from './event.ts';
import type { Module, ModuleContext, ModuleHealth } from './module.ts';
import { shown } from './option-problems.ts';

/**
 * What instances hold, out of sight. Private members, of either kind, would appear in the published types and make
 * the classes of two copies of the package incompatible, though they do the same.
 */
const states = new WeakMap<ModuleBase, State>();

interface State {
  declarations: Declarations | undefined;
  readonly events: Map<string, DeclaredEvent>;
  readonly timed: { readonly event: Event; readonly when: PublishOptions }[];
  started: boolean;
}

function stateOf(module: ModuleBase): State {
  const state = states.get(module);
  if (state === undefined) throw carillonError('CARILLON_BUG', 'a module without state');
  return state;
}

/** Made at the first declaration, not before: a class field that sets `moduleId` runs after the base constructor. */
function declarationsOf(module: ModuleBase): Declarations {
  const state = stateOf(module);
  if (state.declarations === undefined) {
    assertModuleName(module.moduleId);
    state.declarations = collectDeclarations(module.moduleId);
  }
  return state.declarations;
}

function refuse(module: ModuleBase, problem: string): never {
  const message = `module "${module.moduleId}": ${problem}`;
  throw carillonError('CARILLON_MODULE_INVALID', message, { module: module.moduleId });
}

/** A module that has been started is known to its bus as it was: what came later would be silently missing. */
function assertOpen(module: ModuleBase): void {
  if (stateOf(module).started) refuse(module, 'events and handlers are declared before it is started, not after');
}

/** `DatabaseModule` becomes `database-module`, `HTTPServer2` `http-server2`. */
function kebabCase(name: string): string {
  return name
    .replace(/(\p{Ll}|\p{N})(\p{Lu})/gu, '$1-$2')
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, '$1-$2')
    .toLowerCase();
}

/** How a class-style module is made. */
export interface ModuleBaseOptions {
  /** Default: the name of the class in kebab-case. Give one where the code is minified: it is a durable name. */
  readonly moduleId?: string;
  /** Names of modules that must have started before this one. */
  readonly dependsOn?: readonly string[];
}

/** A module as a class: identity and lifecycle. {@link EventModule} adds events and handlers. */
export abstract class ModuleBase implements Module {
  /** The durable name of the module: handlers are subscribed as `moduleId.handler`. May be overridden by a field. */
  readonly moduleId: string;
  readonly dependsOn: readonly string[];

  constructor(options: ModuleBaseOptions = {}) {
    this.moduleId = options.moduleId ?? kebabCase(new.target.name);
    this.dependsOn = Object.freeze([...(options.dependsOn ?? [])]);
    states.set(this, { declarations: undefined, events: new Map(), timed: [], started: false });
  }

  get definitions(): readonly AnyEventDefinition[] {
    return declarationsOf(this).definitions;
  }

  get handlers(): readonly Declaration[] {
    return declarationsOf(this).handlers;
  }

  /** What the bus runs when it starts the module: publishes the timed events, then calls {@link onStart}. */
  get start(): Module['start'] {
    return [(context) => startModule(this, context)];
  }

  get stop(): Module['stop'] {
    return [(context) => this.onStop(context)];
  }

  get health(): Module['health'] {
    return [() => this.onHealth()];
  }

  /** Runs before the module's handlers get events. For overriding; does nothing. */
  onStart(_context: ModuleContext): unknown {
    return undefined;
  }

  /** Runs after the module's handlers have ended. For overriding; does nothing. */
  onStop(_context: ModuleContext): unknown {
    return undefined;
  }

  /** Asked by `bus.health()`; a throw means unhealthy. For overriding; always healthy. */
  onHealth(): ModuleHealth | Promise<ModuleHealth> {
    return { healthy: true };
  }
}

async function startModule(module: ModuleBase, context: ModuleContext): Promise<void> {
  const state = stateOf(module);
  state.started = true;
  for (const { event, when } of state.timed) await context.bus.publish(event, when);
  await module.onStart(context);
}

/** Whether {@link EventModule.on} declares sync or async handlers. */
export type ModuleMode = 'sync' | 'async';

export interface EventModuleOptions<Mode extends ModuleMode = ModuleMode> extends ModuleBaseOptions {
  /** Default `async`. */
  readonly mode?: Mode;
}

/** An event as {@link EventModule.addEvent} recorded it. */
export interface DeclaredEvent {
  readonly type: string;
  readonly description: string | undefined;
  /** A delay in ms, or a moment; undefined for a type that is only declared. */
  readonly time: number | Date | string | undefined;
}

type OnHandler<Mode, T> = Mode extends 'sync' ? SyncHandlerFor<T> : HandlerFor<T>;
type OnOptions<Mode> = Mode extends 'sync' ? SyncHandlerOptions : HandlerOptions;

/**
 * A module as a class, with the names of the article this project follows. A subclass declares its events and handlers
 * in its constructor, after `super()`; everything is checked when it is declared, as in `defineModule`.
 *
 * ```ts
 * class DatabaseModule extends EventModule {
 *   constructor() {
 *     super({ dependsOn: ['machines'] });
 *     this.addEvent('database.checked', 'The database was looked at', 10_000);
 *     this.on(DatabaseCreate, this.create.bind(this));
 *   }
 * }
 * const bus = await createBus({ engine, modules: [new DatabaseModule()] });
 * ```
 *
 * A sync module says so twice, to the compiler and to the program: `extends EventModule<'sync'>` and
 * `super({ mode: 'sync' })`.
 */
export class EventModule<Mode extends ModuleMode = 'async'> extends ModuleBase {
  readonly mode: Mode;

  constructor(
    ...[options]: Mode extends 'sync'
      ? [EventModuleOptions<Mode> & { readonly mode: 'sync' }]
      : [EventModuleOptions<Mode>?]
  ) {
    super(options);
    const { mode = 'async' }: EventModuleOptions = options ?? {};
    if (mode !== 'async' && mode !== 'sync') refuse(this, `its mode must be "sync" or "async", not ${shown(mode)}`);
    this.mode = mode as Mode;
  }

  /** What the ids of this module's timed events begin with. */
  get eventsKey(): string {
    return `${this.moduleId}-events`;
  }

  /** The events declared with {@link addEvent}, by type. Frozen. */
  get events(): Readonly<Record<string, DeclaredEvent>> {
    // Types come from outside: `__proto__` is one, too.
    const events = Object.create(null) as Record<string, DeclaredEvent>;
    for (const [type, event] of stateOf(this).events) events[type] = event;
    return Object.freeze(events);
  }

  /**
   * Declares an event of this module: a type, or a definition. With a `time`, an event of that type is published when
   * the module starts, due after so many ms or at that moment (a Date, or RFC 3339 text with a time zone). Its id is
   * `${eventsKey}:${type}`: after a restart it is the same event, and not published twice (G4), for as long as the log
   * keeps it. A past moment means now.
   *
   * A definition's own description is the default; `data` is what the event carries (default null for a type).
   * A type without definition has no schema and is not added to {@link definitions}.
   *
   * Fails with `CARILLON_MODULE_INVALID` (declared twice, no time, after the start), `CARILLON_TYPE_INVALID`, and with
   * `CARILLON_DATA_INVALID` when the definition refuses `data`.
   */
  addEvent(
    type: string | AnyEventDefinition,
    description?: string,
    time?: number | Date | string,
    data?: unknown,
  ): void {
    assertOpen(this);
    const given = typeof type === 'string';
    const definition = given ? defineEvent(type, description === undefined ? {} : { description }) : type;
    if (!given) declarationsOf(this).define(definition);
    const state = stateOf(this);
    const name = definition.type;
    if (state.events.has(name)) refuse(this, `event "${name}" is declared twice`);
    if (time !== undefined) {
      const when = dueOf(time) ?? refuse(this, `the time of "${name}" is no delay in ms and no moment: ${shown(time)}`);
      const id = `${this.eventsKey}:${name}`;
      const event = definition((given && data === undefined ? null : data) as never, { id });
      state.timed.push({ event, when });
    }
    state.events.set(name, Object.freeze({ type: name, description: description ?? definition.description, time }));
  }

  /** Declares a handler of the module's mode: async ones are durable and retried, sync ones run inside `publish`. */
  on<const T extends Target>(target: T, handler: OnHandler<Mode, T>, options?: OnOptions<Mode>): void {
    declare(this, this.mode, target, handler, options);
  }

  /** Declares an async handler, whatever the mode. */
  handle<const T extends Target>(target: T, handler: HandlerFor<T>, options?: HandlerOptions): void {
    declare(this, 'async', target, handler, options);
  }

  /** Declares an async handler of several events at once, whatever the mode. */
  handleBatch<const T extends Target>(target: T, handler: BatchHandlerFor<T>, options?: HandlerOptions): void {
    declare(this, 'batch', target, handler, options);
  }

  /** Declares a sync handler, whatever the mode. */
  handleSync<const T extends Target>(target: T, handler: SyncHandlerFor<T>, options?: SyncHandlerOptions): void {
    declare(this, 'sync', target, handler, options);
  }
}

function declare(
  module: ModuleBase,
  kind: Declaration['kind'],
  target: Target,
  handler: AnyHandler,
  options: HandlerOptions | undefined,
): void {
  assertOpen(module);
  declarationsOf(module).handle(kind, target, handler, options);
}

/** When a timed event is due; null for what is neither a delay nor a moment. */
function dueOf(time: number | Date | string): PublishOptions | null {
  if (typeof time === 'number') return Number.isFinite(time) && time >= 0 ? { delayMs: time } : null;
  if (time instanceof Date) return Number.isNaN(time.getTime()) ? null : { at: time.getTime() };
  return typeof time === 'string' && timestampMs(time) !== undefined ? { at: time } : null;
}
