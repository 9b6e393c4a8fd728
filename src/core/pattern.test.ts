import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isCarillonError } from './errors.ts';
import { assertPattern, compilePattern, createPatternIndex, hasWildcard, isPattern } from './pattern.ts';

/** The meaning of patterns in the slowest and plainest way. */
function reference(pattern: readonly string[], type: readonly string[]): boolean {
  const [token, ...rest] = pattern;
  if (token === undefined) return type.length === 0;
  if (token === '>') return type.length >= 1;
  const [first, ...others] = type;
  return first !== undefined && (token === '*' || token === first) && reference(rest, others);
}

const word = fc.constantFrom('a', 'b', 'ab', 'é', '事件', '\u{1F514}', 'A');
const patterns = fc
  .tuple(fc.array(fc.oneof(word, fc.constant('*')), { maxLength: 4 }), fc.boolean())
  .filter(([tokens, open]) => tokens.length > 0 || open)
  .map(([tokens, open]) => (open ? [...tokens, '>'] : tokens).join('.'));
const types = fc
  .array(fc.oneof({ weight: 6, arbitrary: word }, fc.constant('')), { minLength: 1, maxLength: 5 })
  .map((tokens) => tokens.join('.'));

function errorOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('assertPattern', () => {
  it.each(['a', 'order.placed', '*', '>', 'a.*', '*.b', 'a.>', '*.*.>', '事件.创建'])('takes %j', (text) => {
    expect(isPattern(text)).toBe(true);
    expect(() => assertPattern(text)).not.toThrow();
  });

  it.each([
    ['', 'token 1 is empty'],
    ['a..b', 'token 2 is empty'],
    ['a.', 'token 2 is empty'],
    ['.a', 'token 1 is empty'],
    ['>.a', 'token 1 is ">"'],
    ['a.b*', 'token 2, "b*"'],
    ['a.>>', 'token 2, ">>"'],
    ['**', 'token 1, "**"'],
  ])('refuses %j, naming the token', (text, told) => {
    expect(isPattern(text)).toBe(false);
    const error = errorOf(() => assertPattern(text));
    expect(isCarillonError(error, 'CARILLON_PATTERN_INVALID')).toBe(true);
    expect((error as Error).message).toContain(told);
  });

  it.each([null, undefined, 1, ['a']])('refuses %j, which is no text', (value) => {
    expect(isPattern(value)).toBe(false);
    expect(
      isCarillonError(
        errorOf(() => assertPattern(value)),
        'CARILLON_PATTERN_INVALID',
      ),
    ).toBe(true);
  });
});

describe('compilePattern', () => {
  it('matches as the reference does', () => {
    let matched = 0;
    fc.assert(
      fc.property(patterns, types, (pattern, type) => {
        const expected = reference(pattern.split('.'), type.split('.'));
        if (expected) matched++;
        return compilePattern(pattern)(type) === expected;
      }),
      { numRuns: 100_000 },
    );
    expect(matched).toBeGreaterThan(5_000);
  });

  it('takes time linear in the length of the type', () => {
    const matches = compilePattern(`${'*.'.repeat(20_000)}z`);
    expect(matches(`${'a.'.repeat(20_000)}z`)).toBe(true);
    expect(matches(`${'a.'.repeat(200_000)}z`)).toBe(false);
  });

  it('knows wildcards', () => {
    expect(['a.b', 'a.*', '>'].map(hasWildcard)).toEqual([false, true, true]);
  });
});

describe('PatternIndex', () => {
  it('gives matches in the order they were added, whatever kind of pattern they have', () => {
    const index = createPatternIndex<string>();
    for (const [pattern, value] of [
      ['a.*', 'one'],
      ['a.b', 'two'],
      ['>', 'three'],
      ['a.b', 'four'],
    ] as const)
      index.add(pattern, value);
    expect(index.match('a.b')).toEqual(['one', 'two', 'three', 'four']);
    expect(index.match('b')).toEqual(['three']);
  });

  it('gives a value once, however many of its patterns match', () => {
    const index = createPatternIndex<string>();
    index.add('a.b', 'one');
    index.add('a.*', 'two');
    index.add('>', 'one');
    index.add('a.b', 'one');
    expect(index.match('a.b')).toEqual(['one', 'two']);
    expect(index.delete('a.b', 'one')).toBe(true);
    expect(index.match('a.b')).toEqual(['two', 'one']);
  });

  it('gives the same list until a change, and leaves a list handed out as it was', () => {
    const index = createPatternIndex<string>();
    index.add('a.*', 'one');
    const before = index.match('a.b');
    expect(index.match('a.b')).toBe(before);
    index.add('x', 'elsewhere');
    expect(index.match('a.b')).toBe(before);
    index.add('a.b', 'two');
    expect(index.match('a.b')).toEqual(['one', 'two']);
    expect(before).toEqual(['one']);
    expect(index.delete('a.*', 'one')).toBe(true);
    expect(index.delete('a.*', 'one')).toBe(false);
    expect(index.match('a.b')).toEqual(['two']);
  });

  it('forgets the oldest list at either bound', () => {
    const index = createPatternIndex<number>({ cachedTypesMax: 2 });
    index.add('>', 1);
    const [a, b] = [index.match('a'), index.match('b')];
    index.match('c');
    expect(index.match('b')).toBe(b);
    expect(index.match('a')).not.toBe(a);

    const heavy = createPatternIndex<number>({ cachedValuesMax: 3 });
    heavy.add('>', 1);
    heavy.add('*', 2);
    const first = heavy.match('a');
    expect(heavy.match('a')).toBe(first);
    heavy.match('b');
    expect(heavy.match('a')).not.toBe(first);
  });

  it('refuses what is no pattern', () => {
    expect(
      isCarillonError(
        errorOf(() => createPatternIndex().add('a..b', 1)),
        'CARILLON_PATTERN_INVALID',
      ),
    ).toBe(true);
  });

  it('agrees with looking at every pattern, through any changes', () => {
    const step = fc.record({
      kind: fc.constantFrom('add', 'add', 'delete', 'match'),
      pattern: patterns,
      value: fc.nat(5),
      type: types,
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const index = createPatternIndex<number>({ cachedTypesMax: 3 });
        let model: { pattern: string; value: number }[] = [];
        const deletions: [boolean, boolean][] = [];
        for (const { kind, pattern, value, type } of steps) {
          const same = (one: { pattern: string; value: number }) => one.pattern === pattern && one.value === value;
          if (kind === 'add') {
            index.add(pattern, value);
            if (!model.some(same)) model.push({ pattern, value });
          } else if (kind === 'delete') {
            deletions.push([index.delete(pattern, value), model.some(same)]);
            model = model.filter((one) => !same(one));
          }
          const expected = model.filter((one) => reference(one.pattern.split('.'), type.split('.')));
          expect(index.match(type)).toEqual([...new Set(expected.map((one) => one.value))]);
        }
        for (const [deleted, expected] of deletions) expect(deleted).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });
});
