import {
  carillonError,
  compileFilter,
  handlerName,
  resolveStrategy,
  strategyOf,
  type AnyEventDefinition,
  type AsyncDeclaration,
  type Module,
  type Strategy,
  type Target,
} from '../core/index.ts';
import type { HandlerSpec } from '../dispatch/index.ts';
import type { Engine } from '../engine/index.ts';
import { targetText, typeMatcher, typesNamed } from './targets.ts';

/** Strategy options from configuration, by subscription name. */
export type StrategyOverrides = Readonly<Record<string, Strategy>>;

/** The durable name of a module's handler. */
export function subscriptionName(module: Module, declaration: Module['handlers'][number]): string {
  return `${module.moduleId}.${handlerName(declaration)}`;
}

/** What the dispatcher needs to know of a declared handler. @throws `CARILLON_STRATEGY_INVALID`, `CARILLON_UNSUPPORTED` */
export function handlerSpec(
  name: string,
  { target, handler, options, kind }: AsyncDeclaration,
  engine: Engine,
  definitions: ReadonlyMap<string, AnyEventDefinition>,
  overrides: StrategyOverrides | undefined,
): HandlerSpec {
  if (options.transaction === true && !engine.capabilities.transactions) {
    throw carillonError(
      'CARILLON_UNSUPPORTED',
      `${name} asks for a transaction, which the ${engine.name} engine does not have`,
      { capability: 'transactions' },
    );
  }
  const given = { ...strategyOf(options), ...overrides?.[name] };
  return {
    name,
    target: targetText(target),
    description: descriptionOf(target, definitions),
    kind,
    handler,
    strategy: resolveStrategy(given, { batchHandler: kind === 'batch', of: name }),
    given,
    from: options.from ?? 'now',
    transaction: options.transaction === true,
    wantsType: typeMatcher(target),
    passes: options.filter === undefined ? null : compileFilter(options.filter),
    responds: typesNamed(target),
  };
}

function descriptionOf(target: Target, definitions: ReadonlyMap<string, AnyEventDefinition>): string | undefined {
  if (typeof target === 'string') return definitions.get(target)?.description;
  return Array.isArray(target) ? undefined : (target as AnyEventDefinition).description;
}

/** A strategy for a handler that does not exist would silently do nothing. @throws `CARILLON_SUBSCRIPTION_UNKNOWN` */
export function assertOverridesKnown(modules: readonly Module[], overrides: StrategyOverrides | undefined): void {
  const names = new Set(modules.flatMap((module) => module.handlers.map((one) => subscriptionName(module, one))));
  for (const name of Object.keys(overrides ?? {})) {
    if (names.has(name)) continue;
    const message = `the configuration names "${name}", which no module subscribes`;
    throw carillonError('CARILLON_SUBSCRIPTION_UNKNOWN', message, { subscription: name });
  }
}
