import type { OptionProblems } from './option-problems.ts';
import { shown } from './option-problems.ts';
import type { ExponentialRetry, FixedRetry, ListRetry, NoRetry, ResolvedRetry, RetryBounds } from './strategy.ts';

/** The attempts made where a strategy does not say, the first one included. */
const attemptsMaxDefault = 5;
/** The longest list of delays. */
const delaysMax = 1000;

/** A failed delivery is dead at once. */
export function noRetry(): NoRetry {
  return { kind: 'none' };
}

/** Waits the same time after each failed attempt. Default: 5 attempts. Checked when the strategy is resolved. */
export function fixed(options: Omit<FixedRetry, 'kind'>): FixedRetry {
  return { ...options, kind: 'fixed' };
}

/**
 * Waits longer after each failed attempt: `initialMs * factor ** (attempt - 1)`, no longer than `maxMs`, of which full
 * jitter takes a random part (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
 * Default: 5 attempts, 1,000 ms, factor 2, 60,000 ms, full jitter. Checked when the strategy is resolved.
 */
export function exponential(options: Omit<ExponentialRetry, 'kind'> = {}): ExponentialRetry {
  return { ...options, kind: 'exponential' };
}

/** Waits each of these times once; then the delivery is dead. Up to 1,000. Checked when the strategy is resolved. */
export function list(delaysMs: readonly number[], bounds: Omit<RetryBounds, 'attemptsMax'> = {}): ListRetry {
  return { ...bounds, kind: 'list', delaysMs: [...delaysMs] };
}

/**
 * Whether another attempt follows a failed one.
 * @param attempt the attempt that failed, 1 for the first
 * @param ageMs how long the log has had the event
 * @param error what it failed with; looked at for its `name` and `code`
 */
export function shouldRetry(retry: ResolvedRetry, attempt: number, ageMs: number, error: Error): boolean {
  if (attempt >= retry.attemptsMax || ageMs >= retry.maxAgeMs) return false;
  if (isListed(retry.never, error)) return false;
  return retry.only === null || isListed(retry.only, error);
}

function isListed(names: readonly string[], error: Error): boolean {
  if (names.length === 0) return false;
  const { code } = error as { code?: unknown };
  // Drivers give numbers as codes, too; a strategy is JSON and names them as text.
  return (
    names.includes(error.name) || ((typeof code === 'string' || typeof code === 'number') && names.includes(`${code}`))
  );
}

type Delay = ResolvedRetry['delayMs'];
type Given = Readonly<Record<string, unknown>>;

const boundNames = ['maxAgeMs', 'only', 'never'];
const namesOf: Readonly<Record<string, readonly string[]>> = {
  none: ['kind'],
  fixed: ['kind', 'delayMs', 'attemptsMax', ...boundNames],
  exponential: ['kind', 'initialMs', 'factor', 'maxMs', 'jitter', 'attemptsMax', ...boundNames],
  list: ['kind', 'delaysMs', ...boundNames],
};

/** Decides every option of a retry, reporting what is wrong. @internal */
export function resolveRetry(given: unknown, problems: OptionProblems): ResolvedRetry {
  const retry = problems.object('retry', given) ?? { kind: 'exponential' };
  const kind = problems.choice('retry.kind', retry['kind'] ?? null, ['none', 'fixed', 'exponential', 'list']);
  if (kind !== undefined) problems.unknown(retry, namesOf[kind] as readonly string[], 'retry.');
  const bounds = resolveBounds(retry, problems);
  switch (kind) {
    case 'fixed': {
      const delayMs = problems.whole('retry.delayMs', retry['delayMs'] ?? null, 0) ?? 0;
      return { ...bounds, delayMs: () => delayMs };
    }
    case 'exponential':
      return { ...bounds, delayMs: exponentialDelay(retry, problems) };
    case 'list': {
      const delaysMs = resolveDelays(retry['delaysMs'], problems);
      const last = delaysMs.at(-1) ?? 0;
      return { ...bounds, attemptsMax: delaysMs.length + 1, delayMs: (attempt) => delaysMs[attempt - 1] ?? last };
    }
    default:
      return { ...bounds, attemptsMax: 1, delayMs: () => 0 };
  }
}

function resolveBounds(retry: Given, problems: OptionProblems): Omit<ResolvedRetry, 'delayMs'> {
  const only = resolveNames('retry.only', retry['only'], problems);
  const never = resolveNames('retry.never', retry['never'], problems);
  if (only?.length === 0) problems.add('retry.only', 'is empty, so nothing would be retried: use { kind: "none" }');
  const both = (only ?? []).filter((name) => never?.includes(name));
  if (both.length > 0) problems.add('retry.never', `names what retry.only names too: ${both.toSorted().join(', ')}`);
  return {
    attemptsMax: unbounded(retry['attemptsMax'])
      ? Infinity
      : (problems.whole('retry.attemptsMax', retry['attemptsMax'], 1) ?? attemptsMaxDefault),
    maxAgeMs: unbounded(retry['maxAgeMs'])
      ? Infinity
      : (problems.whole('retry.maxAgeMs', retry['maxAgeMs'], 1) ?? Infinity),
    only: only ?? null,
    never: never ?? [],
  };
}

/** JSON has no Infinity: a configuration says it as text. */
const unbounded = (value: unknown): boolean => value === Infinity || value === 'Infinity';

function resolveNames(option: string, value: unknown, problems: OptionProblems): readonly string[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || !value.every((name) => typeof name === 'string' && name !== '')) {
    problems.add(option, `must be a list of error names or codes, not ${shown(value)}`);
    return undefined;
  }
  return [...(value as string[])];
}

function resolveDelays(value: unknown, problems: OptionProblems): readonly number[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > delaysMax) {
    problems.add('retry.delaysMs', `must be a list of 1 to ${delaysMax} delays`);
    return [];
  }
  return value.map((delay, index) => problems.whole(`retry.delaysMs[${index}]`, delay ?? null, 0) ?? 0);
}

function exponentialDelay(retry: Given, problems: OptionProblems): Delay {
  const initialMs = problems.whole('retry.initialMs', retry['initialMs'], 0) ?? 1000;
  const maxMs = problems.whole('retry.maxMs', retry['maxMs'], 0) ?? Math.max(60_000, initialMs);
  const jitter = problems.choice('retry.jitter', retry['jitter'], ['full', 'none']) ?? 'full';
  let factor = 2;
  const given = retry['factor'];
  if (typeof given === 'number' && given >= 1 && given < Infinity) factor = given;
  else if (given !== undefined) problems.add('retry.factor', `must be a number from 1, not ${shown(given)}`);
  if (retry['initialMs'] !== undefined && maxMs < initialMs) {
    problems.add('retry.maxMs', `is less than retry.initialMs: ${maxMs} against ${initialMs}`);
  }
  return (attempt, random) => {
    // Zero times an overflown power would be no number.
    const raw = initialMs === 0 ? 0 : initialMs * factor ** (attempt - 1);
    // Whole milliseconds: the due time is stored, and engines keep integers.
    return Math.floor(Math.min(maxMs, raw) * (jitter === 'full' ? random : 1));
  };
}
