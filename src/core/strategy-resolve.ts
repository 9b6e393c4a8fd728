import { carillonError } from './errors.ts';
import { collectProblems, shown, type OptionProblems } from './option-problems.ts';
import { resolveRetry } from './retry.ts';
import type { Order, ResolvedStrategy, Strategy } from './strategy.ts';

/** What a strategy is resolved for. */
export interface ResolveStrategyOptions {
  /** Whether the handler takes batches. */
  readonly batchHandler: boolean;
  /** What the strategy belongs to, for the message, such as `machines.startMachine`. */
  readonly of: string;
}

const concurrencyDefault = 16;
const timeoutMsDefault = 30_000;
const batchSizeDefault = 100;

/** The options of a {@link Strategy}, in the order they are looked at. */
const optionNames = [
  'order',
  'concurrency',
  'retry',
  'timeoutMs',
  'batch',
  'onDead',
  'deadLetter',
  'expiry',
] as const satisfies readonly (keyof Strategy)[];

/**
 * Decides every option of a strategy: what is not given gets its documented default. Takes plain JSON as well, such as
 * a configuration file holds; there `"Infinity"` stands for the number in `attemptsMax` and `maxAgeMs`.
 *
 * Fails with `CARILLON_STRATEGY_INVALID` when an option is unknown, has a value that cannot be meant, or contradicts
 * another. All problems are in one error: in its message and, as `{ option, problem }`, in `details.problems`.
 */
export function resolveStrategy(strategy: Strategy, { batchHandler, of }: ResolveStrategyOptions): ResolvedStrategy {
  const problems = collectProblems();
  const given = problems.object('strategy', strategy) ?? {};
  problems.unknown(given, optionNames);
  const order = problems.choice('order', given['order'], ['key', 'none', 'total']) ?? 'key';
  const resolved: ResolvedStrategy = {
    order,
    concurrency: resolveConcurrency(given['concurrency'], order, problems),
    retry: resolveRetry(given['retry'], problems),
    timeoutMs: problems.whole('timeoutMs', given['timeoutMs'], 1) ?? timeoutMsDefault,
    batch: resolveBatch(given['batch'], batchHandler, problems),
    onDead: problems.choice('onDead', given['onDead'], ['continue', 'hold']) ?? 'continue',
    deadLetter: problems.choice('deadLetter', given['deadLetter'], ['keep', 'discard']) ?? 'keep',
    expiry: resolveExpiry(given['expiry'], problems),
  };
  if (resolved.onDead === 'hold' && order === 'none') {
    problems.add('onDead', '"hold" keeps later events of a key waiting, and order "none" has none that wait');
  }
  if (resolved.onDead === 'hold' && resolved.deadLetter === 'discard') {
    problems.add('onDead', '"hold" waits for the dead letter to be settled, and deadLetter "discard" keeps none');
  }
  refuse(problems, of);
  return resolved;
}

function refuse({ found }: OptionProblems, of: string): void {
  if (found.length === 0) return;
  const told = found.map(({ option, problem }) => `${option}: ${problem}`).join('; ');
  throw carillonError('CARILLON_STRATEGY_INVALID', `the strategy of ${of} is not valid: ${told}`, {
    of,
    problems: [...found],
  });
}

function resolveConcurrency(value: unknown, order: Order, problems: OptionProblems): ResolvedStrategy['concurrency'] {
  const single = typeof value !== 'object' || value === null || Array.isArray(value);
  const given = single ? { all: value } : (value as Readonly<Record<string, unknown>>);
  const option = single ? 'concurrency' : 'concurrency.all';
  problems.unknown(given, ['all', 'perKey'], 'concurrency.');
  const all = problems.whole(option, given['all'], 1);
  const perKey = problems.whole('concurrency.perKey', given['perKey'], 1);
  if (order === 'total' && all !== undefined && all > 1) {
    problems.add(option, `must be 1 with order "total", not ${shown(all)}`);
  }
  if (order !== 'none' && perKey !== undefined && perKey > 1) {
    problems.add(
      'concurrency.perKey',
      `must be 1 with order "${order}", not ${shown(perKey)}; order "none" allows more`,
    );
  }
  return {
    all: order === 'total' ? 1 : (all ?? concurrencyDefault),
    perKey: perKey ?? (order === 'none' ? Infinity : 1),
  };
}

function resolveBatch(value: unknown, batchHandler: boolean, problems: OptionProblems): ResolvedStrategy['batch'] {
  if (!batchHandler) {
    if (value !== undefined)
      problems.add('batch', 'is for handlers made with handleBatch; this one takes single events');
    return null;
  }
  const given = problems.object('batch', value) ?? { size: batchSizeDefault };
  problems.unknown(given, ['size', 'waitMs'], 'batch.');
  return {
    size: problems.whole('batch.size', given['size'] ?? null, 1) ?? batchSizeDefault,
    waitMs: problems.whole('batch.waitMs', given['waitMs'], 0) ?? 0,
  };
}

function resolveExpiry(value: unknown, problems: OptionProblems): ResolvedStrategy['expiry'] {
  const given = problems.object('expiry', value);
  if (given === undefined) return null;
  problems.unknown(given, ['maxAgeMs'], 'expiry.');
  return { maxAgeMs: problems.whole('expiry.maxAgeMs', given['maxAgeMs'] ?? null, 1) ?? 1 };
}
