import { describe, expect, it } from 'vitest';
import { parseParameters } from './parameters.ts';

const bad = (parameter: string): Error =>
  expect.objectContaining({ code: 'CARILLON_OPTION_INVALID', details: { parameter } }) as Error;

describe('parseParameters', () => {
  it('reads texts, numbers and moments', () => {
    const read = parseParameters('/events?a=x%20y&b=7&c=2026-01-02T03:04:05%2B01:00&d=1700000000000', [
      'a',
      'b',
      'c',
      'd',
      'e',
    ]);
    expect(read.text('a')).toBe('x y');
    expect(read.whole('b')).toBe(7);
    expect(read.moment('c')).toBe(Date.UTC(2026, 0, 2, 2, 4, 5));
    expect(read.moment('d')).toBe(1_700_000_000_000);
    expect([read.text('e'), read.whole('e'), read.moment('e')]).toEqual([undefined, undefined, undefined]);
  });

  it('forgives a plus sign that was not encoded', () => {
    expect(parseParameters('/?c=2026-01-02T03:04:05+01:00', ['c']).moment('c')).toBe(Date.UTC(2026, 0, 2, 2, 4, 5));
  });

  it.each([
    ['an unknown one', '/?x=1', 'x'],
    ['one given twice', '/?a=1&a=2', 'a'],
    ['an empty one', '/?a=', 'a'],
    ['a name of the prototype', '/?__proto__=1', '__proto__'],
  ])('refuses %s', (_what, url, parameter) => {
    expect(() => parseParameters(url, ['a'])).toThrow(bad(parameter));
  });

  it.each(['-1', '1.5', '1e3', 'x', '99999999999999999', ' 1'])('refuses %j as a whole number', (text) => {
    const read = parseParameters(`/?a=${encodeURIComponent(text)}`, ['a']);
    expect(() => read.whole('a')).toThrow(bad('a'));
  });

  it('refuses what is out of bounds', () => {
    expect(() => parseParameters('/?a=0', ['a']).whole('a', { min: 1, max: 9 })).toThrow(bad('a'));
    expect(() => parseParameters('/?a=10', ['a']).whole('a', { min: 1, max: 9 })).toThrow(bad('a'));
  });

  it.each(['yesterday', '2026-01-02', '2026-02-30T00:00:00Z', '2026-01-02T03:04:05'])(
    'refuses %j as a moment',
    (text) => {
      expect(() => parseParameters(`/?a=${text}`, ['a']).moment('a')).toThrow(bad('a'));
    },
  );
});
