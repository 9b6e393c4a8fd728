import type { HandlerOptions, SyncHandlerOptions, Target } from './bus.ts';
import type { AnyEventDefinition } from './define.ts';
import { carillonError } from './errors.ts';
import { assertFilter } from './filter.ts';
import type { Handler, SyncHandler } from './handler.ts';
import type { AsyncDeclaration, SyncDeclaration } from './module.ts';
import { nearest, shown } from './option-problems.ts';
import { assertPattern, isPattern } from './pattern.ts';
import { resolveStrategy } from './strategy-resolve.ts';
import type { Strategy } from './strategy.ts';

export type Declaration = AsyncDeclaration | SyncDeclaration;

/** Any function that may stand as a handler; its declared types were checked where it was handed in. */
export type AnyHandler = (event: never, context: never) => unknown;

/** Names become parts of `module.handler`, of file names and of URLs: letters and digits of any script, `-` and `_`. */
const token = /^[\p{L}\p{M}\p{N}_-]{1,100}$/u;

/** Refuses what is no name of a module, with `CARILLON_MODULE_INVALID`. @internal */
export function assertModuleName(name: unknown): asserts name is string {
  if (typeof name === 'string' && token.test(name)) return;
  const told = 'must be 1 to 100 letters, digits, "-" and "_"';
  throw carillonError('CARILLON_MODULE_INVALID', `the name of a module ${told}, not ${shown(name)}`, {
    module: typeof name === 'string' ? name : null,
  });
}

/** A module's events and handlers, checked one by one as they are declared. */
export interface Declarations {
  readonly definitions: readonly AnyEventDefinition[];
  readonly handlers: readonly Declaration[];
  /** Adds a definition, once. Fails with `CARILLON_MODULE_INVALID`, `CARILLON_TYPE_CONFLICT`. */
  define(definition: AnyEventDefinition): void;
  /**
   * Adds a handler, and the definitions it names. Fails with `CARILLON_MODULE_INVALID`, `CARILLON_HANDLER_CONFLICT`,
   * `CARILLON_PATTERN_INVALID`, `CARILLON_FILTER_INVALID`, `CARILLON_STRATEGY_INVALID`.
   */
  handle(kind: Declaration['kind'], target: Target, handler: AnyHandler, options?: HandlerOptions): void;
}

/** Gathers the declarations of one module. @internal */
export function collectDeclarations(module: string): Declarations {
  const definitions = new Map<string, AnyEventDefinition>();
  const handlers = new Map<string, Declaration>();
  const refuse = (message: string): never => {
    throw carillonError('CARILLON_MODULE_INVALID', `module "${module}": ${message}`, { module });
  };

  const define = (definition: AnyEventDefinition): void => {
    if (!isDefinition(definition)) refuse(`${shown(definition)} is no event definition`);
    const known = definitions.get(definition.type);
    if (known !== undefined && known !== definition) {
      const message = `module "${module}" has two definitions of "${definition.type}"`;
      throw carillonError('CARILLON_TYPE_CONFLICT', message, { module, type: definition.type });
    }
    definitions.set(definition.type, definition);
  };

  const defineTarget = (target: Target): void => {
    if (typeof target === 'string') return assertPattern(target);
    if (!isList(target)) return define(target);
    if (target.length === 0) refuse('a handler names an empty list of events');
    for (const definition of target) define(definition);
  };

  return {
    get definitions() {
      return Object.freeze([...definitions.values()]);
    },
    get handlers() {
      return Object.freeze([...handlers.values()]);
    },
    define,
    handle(kind, target, handler, options = {}) {
      if (typeof handler !== 'function') refuse(`a handler must be a function, not ${shown(handler)}`);
      if (typeof options !== 'object' || options === null) refuse(`options must be an object, not ${shown(options)}`);
      defineTarget(target);
      const declaration = Object.freeze({
        kind,
        target,
        handler: handler as Handler<never> & SyncHandler<never>,
        options: Object.freeze({ ...options }),
      }) as Declaration;
      const name = handlerName(declaration);
      const of = `${module}.${name}`;
      if (handlers.has(name)) {
        const message = `module "${module}" has two handlers named "${name}"`;
        throw carillonError('CARILLON_HANDLER_CONFLICT', message, { module, handler: name });
      }
      if (options.filter !== undefined) assertFilter(options.filter, `${of} filter`);
      if (declaration.kind === 'sync') assertSyncOptions(declaration.options, of);
      else assertAsyncOptions(declaration, of);
      handlers.set(name, declaration);
    },
  };
}

const isList = (target: Target): target is readonly AnyEventDefinition[] => Array.isArray(target);

/** A definition is a function with a type: told by shape, so that two copies of the package get along. */
function isDefinition(value: unknown): value is AnyEventDefinition {
  return typeof value === 'function' && isPattern((value as Partial<AnyEventDefinition>).type);
}

/**
 * The name of a handler within its module: `options.name`, else the name of its function, else the event type or
 * pattern it asks for. A list of events gives no name: adding to the list would lose the durable place.
 * Fails with `CARILLON_MODULE_INVALID`.
 */
export function handlerName(declaration: AsyncDeclaration | SyncDeclaration): string {
  const { target, options } = declaration;
  const { name } = options;
  if (name !== undefined) return assertHandlerName(name);
  const fromFunction = declaration.handler.name.replace(/^(bound )+/, '');
  // Names of accessors, symbols and private methods are no tokens: such a function counts as having none.
  if (fromFunction !== 'anonymous' && token.test(fromFunction)) return fromFunction;
  if (typeof target === 'string') return target;
  if (!isList(target)) return target.type;
  const types = target.map(({ type }) => type).join(', ');
  throw carillonError('CARILLON_MODULE_INVALID', `the handler of ${types} needs a name: { name: "..." }`, { types });
}

function assertHandlerName(name: unknown): string {
  // A type or pattern is a name too: it is what a handler without a name is called.
  if (isPattern(name) && name.split('.').every((part) => part === '*' || part === '>' || token.test(part))) return name;
  const told = 'must be letters, digits, "-" and "_", in parts joined by dots';
  throw carillonError('CARILLON_MODULE_INVALID', `the name of a handler ${told}, not ${shown(name)}`, {
    handler: typeof name === 'string' ? name : null,
  });
}

/** The options of a handler that are its strategy. */
export function strategyOf(options: HandlerOptions): Strategy {
  const { name: _name, from: _from, filter: _filter, transaction: _transaction, ...strategy } = options;
  return strategy;
}

/** Fails with `CARILLON_OPTION_INVALID` or `CARILLON_STRATEGY_INVALID`. @param of whose options they are */
export function assertAsyncOptions({ kind, options }: AsyncDeclaration, of: string): void {
  const { from, transaction } = options;
  if (from !== undefined && !isStart(from)) {
    const message = `${of} from must be "beginning", "now", { position } or { timeMs }, not ${shown(from)}`;
    throw carillonError('CARILLON_OPTION_INVALID', message, { option: 'from', of });
  }
  if (transaction !== undefined && typeof transaction !== 'boolean') {
    const message = `${of} transaction must be true or false, not ${shown(transaction)}`;
    throw carillonError('CARILLON_OPTION_INVALID', message, { option: 'transaction', of });
  }
  resolveStrategy(strategyOf(options), { batchHandler: kind === 'batch', of });
}

function isStart(from: unknown): boolean {
  if (from === 'beginning' || from === 'now') return true;
  if (typeof from !== 'object' || from === null || Object.keys(from).length !== 1) return false;
  const { position, timeMs } = from as { position?: unknown; timeMs?: unknown };
  return (Number.isSafeInteger(position) && (position as number) >= 0) || Number.isFinite(timeMs);
}

function assertSyncOptions(options: SyncHandlerOptions, of: string): void {
  const known = ['name', 'filter'];
  for (const option of Object.keys(options)) {
    if (known.includes(option)) continue;
    const near = nearest(option, known);
    const hint = near === undefined ? 'a sync handler takes name and filter' : `did you mean "${near}"?`;
    throw carillonError('CARILLON_OPTION_INVALID', `${of} ${option} is no option: ${hint}`, { option, of });
  }
}
