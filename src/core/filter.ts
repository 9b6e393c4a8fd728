import { carillonError } from './errors.ts';
import type { Event } from './event.ts';

/**
 * Which events pass, as plain data: the dialects every implementation of the CloudEvents Subscriptions API must have
 * ({@link https://github.com/cloudevents/spec/blob/main/subscriptions/spec.md}, section 3.2.4.1.1), word for word.
 * Where a list of filters is taken, all must pass, and an empty list lets everything pass.
 *
 * Only the envelope is looked at. Comparison is case-sensitive, on the attribute's CloudEvents string form (`true`,
 * `-5`, text as given: times are not normalised). An attribute that is absent equals, begins and ends with nothing.
 */
export type Filter =
  | { readonly exact: AttributeTexts }
  | { readonly prefix: AttributeTexts }
  | { readonly suffix: AttributeTexts }
  | { readonly all: readonly Filter[] }
  | { readonly any: readonly Filter[] }
  | { readonly not: Filter };

/** Texts wanted, by attribute name. All must fit. Neither names nor texts may be empty. */
export type AttributeTexts = Readonly<Record<string, string>>;

/** How deep filters may nest; a filter without others inside has depth 1. */
export const filterDepthMax = 16;
/** The most clauses of one filter: each `all`, `any`, `not` and each attribute compared is one. */
export const filterClausesMax = 256;

const comparisons = {
  exact: (actual: string, wanted: string): boolean => actual === wanted,
  prefix: (actual: string, wanted: string): boolean => actual.startsWith(wanted),
  suffix: (actual: string, wanted: string): boolean => actual.endsWith(wanted),
};

type Comparison = keyof typeof comparisons;

/** An attribute in its canonical CloudEvents string form; null when the event has none of that name. */
function textOf(event: Event, attribute: string): string | null {
  const value = event[attribute];
  switch (typeof value) {
    case 'string':
      return value;
    case 'boolean':
      return String(value);
    case 'number':
      return Number.isInteger(value) ? String(value) : null;
    default:
      // Also what `event.constructor` finds on the prototype.
      return null;
  }
}

function refuse(path: string, problem: string): never {
  throw carillonError('CARILLON_FILTER_INVALID', `${path} ${problem}`, { path });
}

/**
 * Asserts that `filter` is a {@link Filter} or a list of them, such as JSON from a configuration or a client.
 * Besides what the specification asks for, it refuses names no attribute can have (also `data`) and comparisons
 * without attributes: neither can be meant. Fails with `CARILLON_FILTER_INVALID`, naming the path.
 */
export function assertFilter(filter: unknown, path = 'filter'): asserts filter is Filter | readonly Filter[] {
  const budget = { clauses: filterClausesMax };
  if (!Array.isArray(filter)) return assertClause(filter, path, filterDepthMax, budget);
  for (const [index, one] of filter.entries()) assertClause(one, `${path}[${index}]`, filterDepthMax, budget);
}

interface Budget {
  clauses: number;
}

function spend(budget: Budget, path: string): void {
  if (--budget.clauses < 0) refuse(path, `is one clause too many; a filter has up to ${filterClausesMax}`);
}

function assertClause(filter: unknown, path: string, depthLeft: number, budget: Budget): void {
  if (depthLeft === 0) refuse(path, `nests deeper than ${filterDepthMax} filters`);
  if (typeof filter !== 'object' || filter === null || Array.isArray(filter)) refuse(path, 'must be an object');
  const names = Object.keys(filter);
  const [dialect] = names;
  if (dialect === undefined || names.length > 1) {
    refuse(path, `must name exactly one dialect, not ${names.length === 0 ? 'none' : names.join(' and ')}`);
  }
  const inside = (filter as Record<string, unknown>)[dialect];
  const insidePath = `${path}.${dialect}`;
  switch (dialect) {
    case 'exact':
    case 'prefix':
    case 'suffix':
      return assertTexts(inside, insidePath, budget);
    case 'all':
    case 'any':
      spend(budget, insidePath);
      if (!Array.isArray(inside) || inside.length === 0) refuse(insidePath, 'must be a list of at least one filter');
      for (const [index, one] of inside.entries()) {
        assertClause(one, `${insidePath}[${index}]`, depthLeft - 1, budget);
      }
      return;
    case 'not':
      spend(budget, insidePath);
      return assertClause(inside, insidePath, depthLeft - 1, budget);
    default:
      refuse(path, `names the dialect "${dialect}"; there are exact, prefix, suffix, all, any and not`);
  }
}

function assertTexts(texts: unknown, path: string, budget: Budget): void {
  if (typeof texts !== 'object' || texts === null || Array.isArray(texts)) {
    refuse(path, 'must be an object of attribute names and texts');
  }
  const names = Object.keys(texts);
  if (names.length === 0) refuse(path, 'must name at least one attribute');
  for (const name of names) {
    const at = `${path}.${name}`;
    spend(budget, at);
    // CloudEvents 1.0.2, section "Attribute Naming Convention"; `data` is no attribute.
    if (!/^[a-z0-9]+$/.test(name) || name === 'data') refuse(at, 'is not the name of an attribute');
    const wanted: unknown = (texts as Record<string, unknown>)[name];
    if (typeof wanted !== 'string') refuse(at, 'must be text, also where the attribute is an integer or boolean');
    if (wanted === '') refuse(at, 'must not be empty');
  }
}

type Test = (event: Event) => boolean;

/** The test a filter stands for. Later changes to `filter` have no effect on it. Fails with `CARILLON_FILTER_INVALID`. */
export function compileFilter(filter: Filter | readonly Filter[]): Test {
  assertFilter(filter);
  return isList(filter) ? compileAll(filter) : compileClause(filter);
}

const isList = (filter: Filter | readonly Filter[]): filter is readonly Filter[] => Array.isArray(filter);

function compileClause(filter: Filter): Test {
  if ('all' in filter) return compileAll(filter.all);
  if ('any' in filter) {
    const tests = filter.any.map(compileClause);
    return (event) => tests.some((test) => test(event));
  }
  if ('not' in filter) {
    const test = compileClause(filter.not);
    return (event) => !test(event);
  }
  const { dialect, texts } = comparisonOf(filter);
  const fits = comparisons[dialect];
  return together(
    texts.map(([attribute, wanted]): Test => {
      return (event) => {
        const actual = textOf(event, attribute);
        return actual !== null && fits(actual, wanted);
      };
    }),
  );
}

const compileAll = (filters: readonly Filter[]): Test => together(filters.map(compileClause));

function together(tests: readonly Test[]): Test {
  const [only] = tests;
  if (only !== undefined && tests.length === 1) return only;
  return (event) => tests.every((test) => test(event));
}

function comparisonOf(filter: Filter): { dialect: Comparison; texts: [string, string][] } {
  for (const [dialect, texts] of Object.entries(filter) as [Comparison, AttributeTexts][]) {
    return { dialect, texts: Object.entries(texts) };
  }
  throw carillonError('CARILLON_BUG', 'a filter without dialect passed assertFilter');
}

/** Why a filter refused an event: the comparison that decided, and what it found (G14). */
export interface FilterRefusal {
  /** Where the comparison stands, such as `filter.all[1].exact.subject`. */
  readonly path: string;
  readonly dialect: 'exact' | 'prefix' | 'suffix';
  readonly attribute: string;
  readonly wanted: string;
  /** The attribute's string form; null when the event has none. */
  readonly actual: string | null;
  /** Whether the comparison stands under `not`: then it refused because it fits. */
  readonly negated: boolean;
  /** The other branches that had to agree, where several did: each alternative of an `any` refused. */
  readonly others: readonly FilterRefusal[];
}

/**
 * Null when the event passes; else the first comparison that refused it. Fails with `CARILLON_FILTER_INVALID`.
 * @param path what the filter is called in the answer
 */
export function explainFilter(filter: Filter | readonly Filter[], event: Event, path = 'filter'): FilterRefusal | null {
  assertFilter(filter, path);
  if (!isList(filter)) return explain(filter, event, path, true);
  return firstOf(filter, (one, index) => explain(one, event, `${path}[${index}]`, true));
}

/** The refusal as a sentence for people, no full stop. */
export function refusalText(refusal: FilterRefusal): string {
  const has = refusal.actual === null ? 'the event has none' : `the event has "${refusal.actual}"`;
  const also = refusal.others.map((other) => `; ${refusalText(other)}`).join('');
  return `${refusal.path} ${refusal.negated ? 'must not fit' : 'wants'} "${refusal.wanted}", ${has}${also}`;
}

/** Null when the filter comes out as `wanted`; else why it did not. `not` turns the question round. */
function explain(filter: Filter, event: Event, path: string, wanted: boolean): FilterRefusal | null {
  if ('not' in filter) return explain(filter.not, event, `${path}.not`, !wanted);
  if ('all' in filter || 'any' in filter) {
    const all = 'all' in filter;
    const inside = all ? filter.all : filter.any;
    const ask = (one: Filter, index: number): FilterRefusal | null =>
      explain(one, event, `${path}.${all ? 'all' : 'any'}[${index}]`, wanted);
    return all === wanted ? firstOf(inside, ask) : everyOf(inside, ask);
  }
  const { dialect, texts } = comparisonOf(filter);
  const ask = ([attribute, text]: readonly [string, string]): FilterRefusal | null => {
    const actual = textOf(event, attribute);
    if ((actual !== null && comparisons[dialect](actual, text)) === wanted) return null;
    const at = `${path}.${dialect}.${attribute}`;
    return { path: at, dialect, attribute, wanted: text, actual, negated: !wanted, others: [] };
  };
  return wanted ? firstOf(texts, ask) : everyOf(texts, ask);
}

type Ask<T> = (one: T, index: number) => FilterRefusal | null;

/** One refusal decides: the first is the answer. */
function firstOf<T>(items: readonly T[], ask: Ask<T>): FilterRefusal | null {
  for (const [index, item] of items.entries()) {
    const refusal = ask(item, index);
    if (refusal !== null) return refusal;
  }
  return null;
}

/** Only all refusals together decide: the first is the answer and carries the others. */
function everyOf<T>(items: readonly T[], ask: Ask<T>): FilterRefusal | null {
  const refusals: FilterRefusal[] = [];
  for (const [index, item] of items.entries()) {
    const refusal = ask(item, index);
    if (refusal === null) return null;
    refusals.push(refusal);
  }
  const [first, ...others] = refusals;
  return first === undefined ? null : { ...first, others: [...first.others, ...others] };
}
