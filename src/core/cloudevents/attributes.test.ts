import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { carillonError, type ErrorCode } from '../errors.ts';
import { assertAttribute, assertAttributes, isAttributeText } from './attributes.ts';

const required = { specversion: '1.0', id: '1', source: '/s', type: 't' };

function failure(code: ErrorCode, attribute: string): object {
  const { kind } = carillonError(code, '');
  return expect.objectContaining({
    code,
    kind,
    message: expect.stringContaining(attribute),
    details: { attribute },
  }) as object;
}

const attempt = (attributes: Record<string, unknown>) => () => assertAttributes(attributes);

describe('attributes', () => {
  it('are enough when the required ones are there', () => {
    expect(attempt(required)).not.toThrow();
  });

  it.each(Object.keys(required))('%s is required; null and undefined are absent', (name) => {
    for (const absent of [undefined, null]) {
      expect(attempt({ ...required, [name]: absent })).toThrow(failure('CARILLON_ATTRIBUTE_MISSING', name));
    }
    const { [name as keyof typeof required]: _, ...rest } = required;
    expect(attempt(rest)).toThrow(failure('CARILLON_ATTRIBUTE_MISSING', name));
  });

  it.each([
    ['specversion', '0.3'],
    ['specversion', '1.0.2'],
    ['specversion', 1],
    ['id', ''],
    ['id', 7],
    ['id', 'a\nb'],
    ['source', ''],
    ['source', 'a b'],
    ['source', {}],
    ['type', ''],
    ['type', '\ud800'],
    ['type', '\ufdd0'],
    ['datacontenttype', 'json'],
    ['datacontenttype', ''],
    ['dataschema', ''],
    ['dataschema', '/relative'],
    ['dataschema', 'https://example.com/x#part'],
    ['subject', ''],
    ['subject', true],
    ['time', '2018-04-05'],
    ['time', 1522949460000],
    ['partitionkey', ''],
    ['sequence', ''],
    ['sequence', 5],
    ['expirytime', 'tomorrow'],
    ['recordedtime', ''],
    ['traceparent', 'x'],
    ['tracestate', '='],
    ['correlationid', ''],
    ['causationid', ''],
    ['other', {}],
    ['other', []],
    ['other', 1.5],
    ['other', 2 ** 31],
    ['other', -(2 ** 31) - 1],
    ['other', Number.NaN],
    ['other', 1n],
    ['other', new Uint8Array(1)],
    ['other', new Date(0)],
    ['other', '\u007f'],
    ['constructor', () => 1],
  ])('%s refuses %s', (name, value) => {
    expect(attempt({ ...required, [name]: value })).toThrow(failure('CARILLON_ATTRIBUTE_INVALID', name));
  });

  it.each([
    ['id', ' '],
    ['source', '1-555-123-4567'],
    ['type', 'with spaces * > and ünïcode'],
    ['subject', '😀'],
    ['time', '1990-12-31T23:59:60Z'],
    ['datacontenttype', 'text/plain; charset=utf-8'],
    ['dataschema', 'urn:x:y'],
    ['tracestate', ''],
    ['other', ''],
    ['other', false],
    ['other', 0],
    ['other', 2 ** 31 - 1],
    ['other', -(2 ** 31)],
    ['constructor', 'a name like any other'],
    ['7', 'a digit'],
    ['a'.repeat(64), 'long'],
  ])('%s takes %j', (name, value) => {
    expect(attempt({ ...required, [name]: value })).not.toThrow();
  });

  it.each(['', 'A', 'a-b', 'a_b', 'ä', '__proto__', 'data', 'data_base64', 'a'.repeat(65), 'a\n'])(
    '%j is no name',
    (name) => {
      const attributes: Record<string, unknown> = { ...required };
      for (const value of ['x', null]) {
        Object.defineProperty(attributes, name, { value, enumerable: true, configurable: true });
        expect(attempt(attributes)).toThrow(
          expect.objectContaining({ code: 'CARILLON_ATTRIBUTE_NAME', details: { attribute: name } }),
        );
      }
    },
  );

  it('shows no more than the beginning of a long value', () => {
    expect(() => assertAttribute('time', 'x'.repeat(1e6))).toThrow(/^.{1,200}$/);
  });

  it('still refuses after thousands of sources have passed', () => {
    for (let index = 0; index < 10_000; index++) assertAttribute('source', `/${index}`);
    expect(() => assertAttribute('source', '/ 1')).toThrow(failure('CARILLON_ATTRIBUTE_INVALID', 'source'));
  });
});

describe('attribute text', () => {
  it('is what the specification says, code point by code point', () => {
    const allowed = (point: number): boolean =>
      !(point <= 0x1f || (point >= 0x7f && point <= 0x9f) || (point >= 0xd800 && point <= 0xdfff)) &&
      !((point >= 0xfdd0 && point <= 0xfdef) || (point & 0xffff) >= 0xfffe);
    const wrong: number[] = [];
    for (let point = 0; point <= 0x10ffff; point++) {
      if (isAttributeText(String.fromCodePoint(point)) !== allowed(point)) wrong.push(point);
    }
    expect(wrong).toEqual([]);
  });

  it('is no text with surrogates out of pairs', () => {
    for (const text of ['\udc00\ud800', 'a\ud83d', '\ud83d\ud83d\ude00', '\ude00'])
      expect(isAttributeText(text)).toBe(false);
    expect(isAttributeText('\ud800\udead')).toBe(true);
  });

  it('takes every string of printable ASCII', () => {
    const strings = fc.sample(fc.string(), 500);
    expect(strings.filter((text) => !isAttributeText(text))).toEqual([]);
  });
});
