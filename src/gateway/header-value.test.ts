import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isCarillonError } from '../core/index.ts';
import { decodeHeaderValue } from './header-value.ts';

/** What a call returns or throws. */
function attempt(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

describe('decodeHeaderValue', () => {
  it.each([
    ['plain', 'plain'],
    ['', ''],
    ['Euro%20%E2%82%AC%20%F0%9F%98%80', 'Euro € 😀'],
    ['lower%e2%82%ac', 'lower€'],
    ['needless%41', 'needlessA'],
    ['once%2520', 'once%20'],
    ['"quoted value"', 'quoted value'],
    ['"with \\"escapes\\" and \\\\"', 'with "escapes" and \\'],
    ['"quoted%20and encoded"', 'quoted and encoded'],
    ['a space', 'a space'],
    ['+', '+'],
  ])('decodes %j', (header, value) => {
    expect(decodeHeaderValue(header, 'subject')).toBe(value);
  });

  it.each([
    ['an overlong form', '%C0%A0'],
    ['a surrogate', '%ED%A0%80'],
    ['a truncated sequence', '%E2%82'],
    ['a lone percent', '100%'],
    ['a percent with one digit', '%2'],
    ['a percent with no hexadecimal digit', '%zz'],
    ['raw UTF-8 bytes, as Node reads them', 'caf\u00c3\u00a9'],
    ['a tab', 'a\tb'],
    ['an open quote', '"open'],
    ['an open quote that ends in a backslash', '"open\\'],
  ])('refuses %s, naming the attribute', (_what, header) => {
    expect(() => decodeHeaderValue(header, 'subject')).toThrow(
      expect.objectContaining({
        code: 'CARILLON_ATTRIBUTE_INVALID',
        details: { attribute: 'subject', header: 'ce-subject' },
      }),
    );
  });

  it('undoes what an encoder that follows the binding does, for any text', () => {
    const encode = (text: string): string =>
      Array.from(text)
        .map((character) => (/[!#$&-~]/.test(character) ? character : encodeURIComponent(character)))
        .join('');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        fc.pre(!/\p{Surrogate}/u.test(text));
        expect(decodeHeaderValue(encode(text), 'subject')).toBe(text);
      }),
    );
  });

  it('never throws anything but an error of the catalogue', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const outcome = attempt(() => decodeHeaderValue(text, 'subject'));
        expect(typeof outcome === 'string' || isCarillonError(outcome, 'CARILLON_ATTRIBUTE_INVALID')).toBe(true);
      }),
    );
  });
});
