import { carillonError } from './errors.ts';

/**
 * Patterns over dot-separated event types. `*` stands for exactly one token, `>` for one or more tokens and only at
 * the end, as in NATS subjects. A pattern without either is an exact type. Tokens are compared case-sensitively.
 */
function problemOf(text: string): { token: string; problem: string } | null {
  const tokens = text.split('.');
  for (const [index, token] of tokens.entries()) {
    if (token === '') return { token, problem: `token ${index + 1} is empty` };
    if (token === '*') continue;
    if (token === '>') {
      if (index < tokens.length - 1) return { token, problem: `token ${index + 1} is ">", which may only come last` };
    } else if (token.includes('*') || token.includes('>')) {
      return { token, problem: `token ${index + 1}, "${token}", mixes a wildcard with other characters` };
    }
  }
  return null;
}

/** Asserts that `text` is an event type or a pattern. Fails with `CARILLON_PATTERN_INVALID`, naming the token. */
export function assertPattern(text: unknown): asserts text is string {
  if (typeof text !== 'string') {
    throw carillonError('CARILLON_PATTERN_INVALID', `a pattern is text, not ${text === null ? 'null' : typeof text}`);
  }
  const found = problemOf(text);
  if (found !== null) {
    throw carillonError('CARILLON_PATTERN_INVALID', `pattern "${text}": ${found.problem}`, {
      pattern: text,
      token: found.token,
    });
  }
}

/** Whether `text` is an event type or a pattern. */
export function isPattern(text: unknown): text is string {
  return typeof text === 'string' && problemOf(text) === null;
}

/** Whether a valid pattern has a wildcard: otherwise it is an exact type. */
export function hasWildcard(pattern: string): boolean {
  // Valid patterns hold these characters as whole tokens only.
  return pattern.includes('*') || pattern.includes('>');
}

/**
 * The test a pattern stands for. Linear in the length of the type, without backtracking. A type is taken apart at its
 * dots, so `a.` has two tokens, the second one empty, and `a.*` matches it.
 * Fails with `CARILLON_PATTERN_INVALID`.
 */
export function compilePattern(text: string): (type: string) => boolean {
  assertPattern(text);
  if (!hasWildcard(text)) return (type) => type === text;
  if (text === '>') return () => true;
  const open = text.endsWith('.>');
  const tokens = (open ? text.slice(0, -2) : text).split('.');
  if (open && !tokens.includes('*')) {
    const prefix = `${tokens.join('.')}.`;
    return (type) => type.startsWith(prefix);
  }
  return (type) => matchTokens(tokens, open, type);
}

function matchTokens(tokens: readonly string[], open: boolean, type: string): boolean {
  let at = 0;
  for (const [index, token] of tokens.entries()) {
    const dot = type.indexOf('.', at);
    const end = dot === -1 ? type.length : dot;
    if (token !== '*' && (token.length !== end - at || !type.startsWith(token, at))) return false;
    const last = index === tokens.length - 1;
    if (dot === -1) return last && !open;
    if (last) return open;
    at = dot + 1;
  }
  return false;
}

/** Values filed under types and patterns, found by type. */
export interface PatternIndex<T> {
  /** Files a value under a type or pattern. The same pair again changes nothing. Fails with `CARILLON_PATTERN_INVALID`. */
  add(pattern: string, value: T): void;
  /** Takes a value back. Whether it was there. */
  delete(pattern: string, value: T): boolean;
  /**
   * All values whose pattern matches, in the order they were added, each once. The same array again until a change;
   * an array handed out before a change stays as it was.
   */
  match(type: string): readonly T[];
}

/** Bounds of the match lists a {@link PatternIndex} remembers. At a bound the oldest list is forgotten. */
export interface PatternIndexBounds {
  /** Types remembered. Default 10,000. */
  readonly cachedTypesMax?: number;
  /** Values in all remembered lists together. Default 1,000,000 (8 MB). */
  readonly cachedValuesMax?: number;
}

interface Group<T> {
  readonly matches: (type: string) => boolean;
  /** Each value with its turn: what was added earlier has the smaller one. */
  readonly turns: Map<T, number>;
}

/**
 * An empty {@link PatternIndex}. It remembers the match list of each type it was asked for, so that a known type costs
 * one Map lookup however many wildcards there are. Adding or deleting a pattern with a wildcard forgets all lists.
 */
export function createPatternIndex<T>(bounds: PatternIndexBounds = {}): PatternIndex<T> {
  const { cachedTypesMax = 10_000, cachedValuesMax = 1_000_000 } = bounds;
  const exact = new Map<string, Group<T>>();
  const wild = new Map<string, Group<T>>();
  const cache = new Map<string, readonly T[]>();
  let cachedValues = 0;
  let nextTurn = 0;

  const forget = (type: string): void => {
    cachedValues -= cache.get(type)?.length ?? 0;
    cache.delete(type);
  };
  const changed = (pattern: string): void => {
    if (!hasWildcard(pattern)) return forget(pattern);
    cache.clear();
    cachedValues = 0;
  };
  const remember = (type: string, list: readonly T[]): void => {
    while (cache.size > 0 && (cache.size >= cachedTypesMax || cachedValues + list.length > cachedValuesMax)) {
      for (const oldest of cache.keys()) {
        forget(oldest);
        break;
      }
    }
    cache.set(type, list);
    cachedValues += list.length;
  };
  const search = (type: string): readonly T[] => {
    const found: [T, number][] = [...(exact.get(type)?.turns ?? [])];
    for (const group of wild.values()) {
      if (group.matches(type)) for (const pair of group.turns) found.push(pair);
    }
    found.sort(([, left], [, right]) => left - right);
    return [...new Set(found.map(([value]) => value))];
  };

  return {
    add(pattern, value) {
      const matches = compilePattern(pattern);
      const groups = hasWildcard(pattern) ? wild : exact;
      let group = groups.get(pattern);
      if (group === undefined) groups.set(pattern, (group = { matches, turns: new Map() }));
      if (group.turns.has(value)) return;
      group.turns.set(value, nextTurn++);
      changed(pattern);
    },
    delete(pattern, value) {
      const groups = hasWildcard(pattern) ? wild : exact;
      const group = groups.get(pattern);
      if (group === undefined || !group.turns.delete(value)) return false;
      if (group.turns.size === 0) groups.delete(pattern);
      changed(pattern);
      return true;
    },
    match(type) {
      const cached = cache.get(type);
      if (cached !== undefined) return cached;
      const list = search(type);
      remember(type, list);
      return list;
    },
  };
}
