import { describe, expect, it } from 'vitest';
import { isJson, isText, isUtf8, parseMediaType } from './media-type.ts';

describe('parseMediaType', () => {
  it('reads type and parameters', () => {
    expect(parseMediaType(' Text/Plain ; Charset="UTF-8"; x=1 ;')).toEqual({
      essence: 'text/plain',
      parameters: new Map([
        ['charset', 'UTF-8'],
        ['x', '1'],
      ]),
    });
    expect(parseMediaType('a/b; q="a;\\"b"')?.parameters.get('q')).toBe('a;"b');
  });

  it.each(['', 'text', 'text/', '/plain', 'a/b/c', 'a b/c', 'a/b; x', 'a/b; x=', 'a/b; x=1; x=2', 'a/b; x="'])(
    'refuses %j',
    (text) => {
      expect(parseMediaType(text)).toBeNull();
    },
  );

  it.each([
    ['application/json', true, false],
    ['text/json', true, true],
    ['application/problem+json', true, false],
    ['application/jsonx', false, false],
    ['text/html', false, true],
    ['image/svg+xml', false, true],
    ['image/png', false, false],
  ])('%s: JSON %s, text %s', (text, json, isTextual) => {
    const media = parseMediaType(text);
    expect([media && isJson(media), media && isText(media)]).toEqual([json, isTextual]);
  });

  it('knows the charsets that are UTF-8', () => {
    const utf8 = (text: string) => isUtf8(parseMediaType(text)!);
    expect(['a/b', 'a/b;charset=utf-8', 'a/b;charset=UTF8', 'a/b;charset=us-ascii'].map(utf8)).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect(utf8('a/b;charset=utf-16')).toBe(false);
  });
});
