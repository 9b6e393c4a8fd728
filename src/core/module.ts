import type {
  BatchHandlerFor,
  Bus,
  HandlerFor,
  HandlerOptions,
  SyncHandlerFor,
  SyncHandlerOptions,
  Target,
} from './bus.ts';
import type { AnyEventDefinition } from './define.ts';
import type { BatchHandler, Handler, SyncHandler } from './handler.ts';
import type { Logger } from './logger.ts';

/** What a module's hooks are given. */
export interface ModuleContext {
  readonly bus: Bus;
  readonly log: Logger;
}

export interface ModuleHealth {
  readonly healthy: boolean;
  readonly detail?: string;
}

/** Declares what a module consists of. Only valid while `defineModule` runs its `setup`. */
export interface ModuleBuilder {
  /** Makes event types known to the bus, so that raw events of theirs are validated when published. */
  events(...definitions: readonly AnyEventDefinition[]): void;
  /** An async handler: durable, after commit, retried. */
  handle<const T extends Target>(target: T, handler: HandlerFor<T>, options?: HandlerOptions): void;
  /** An async handler of several events at once; `batch` in the options bounds them (default 100, no wait). */
  handleBatch<const T extends Target>(target: T, handler: BatchHandlerFor<T>, options?: HandlerOptions): void;
  /** A sync handler: runs inside `publish`, before commit, and may refuse the event by throwing. */
  handleSync<const T extends Target>(target: T, handler: SyncHandlerFor<T>, options?: SyncHandlerOptions): void;
  /** Runs before the module's handlers get events, after the modules it depends on have started. */
  onStart(hook: (context: ModuleContext) => unknown): void;
  /** Runs after the module's handlers have ended, before the modules it depends on stop. */
  onStop(hook: (context: ModuleContext) => unknown): void;
  /** Asked by `bus.health()`. A throw means unhealthy. */
  onHealth(check: () => ModuleHealth | Promise<ModuleHealth>): void;
  /** Names of modules that must have started before this one. */
  dependsOn(...modules: readonly string[]): void;
}

/** A handler as a module declares it. */
export interface AsyncDeclaration {
  readonly kind: 'async' | 'batch';
  readonly target: Target;
  readonly handler: Handler<never> | BatchHandler<never>;
  readonly options: HandlerOptions;
}

export interface SyncDeclaration {
  readonly kind: 'sync';
  readonly target: Target;
  readonly handler: SyncHandler<never>;
  readonly options: SyncHandlerOptions;
}

/** Events, handlers and lifecycle under one name. What `defineModule` and `EventModule` both come down to. */
export interface Module {
  readonly moduleId: string;
  readonly definitions: readonly AnyEventDefinition[];
  readonly handlers: readonly (AsyncDeclaration | SyncDeclaration)[];
  readonly dependsOn: readonly string[];
  readonly start: readonly ((context: ModuleContext) => unknown)[];
  readonly stop: readonly ((context: ModuleContext) => unknown)[];
  readonly health: readonly (() => ModuleHealth | Promise<ModuleHealth>)[];
}
