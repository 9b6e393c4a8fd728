import { describe, expect, it } from 'vitest';
import { isJsonMediaType, isMediaType } from './media-type.ts';

describe('media types', () => {
  it.each([
    'application/json',
    'text/plain;charset=utf-8',
    'text/plain; charset="utf-8"; format=flowed',
    'application/vnd.apache.thrift.binary',
    'multipart/mixed; boundary="a b\\"c"',
    'X/Y',
  ])('%j is one', (text) => {
    expect(isMediaType(text)).toBe(true);
  });

  it.each([
    '',
    'json',
    'application/',
    '/json',
    'a/b/c',
    'text/plain;',
    'text/plain; charset',
    'text/plain; charset=',
    'text/plain; charset="utf-8',
    'text /plain',
    'text/plain ',
    'tëxt/plain',
    'text/plain;\tcharset=x',
    'text/plain; a="\n"',
  ])('%j is none', (text) => {
    expect(isMediaType(text)).toBe(false);
  });

  it('does not stall on long hostile text', () => {
    expect(isMediaType(`a/b${' ;'.repeat(200_000)}`)).toBe(false);
    expect(isMediaType(`a/b;c="${'\\"'.repeat(200_000)}`)).toBe(false);
  });

  it.each([
    undefined,
    'application/json',
    'APPLICATION/JSON',
    'text/json',
    'application/problem+json; charset=utf-8',
    'application/json ; a=b',
  ])('%j declares JSON', (text) => {
    expect(isJsonMediaType(text)).toBe(true);
  });

  it.each(['application/xml', 'application/jsonp', 'text/plain; x=a/json', 'application/json-seq', 'json', 'x+json'])(
    '%j does not',
    (text) => {
      expect(isJsonMediaType(text)).toBe(false);
    },
  );
});
