import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeBase64, encodeBase64 } from './base64.ts';

describe('base64', () => {
  it('writes what Buffer writes, and reads it back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const text = encodeBase64(bytes);
        expect(text).toBe(Buffer.from(bytes).toString('base64'));
        expect(decodeBase64(text)).toEqual(bytes);
      }),
    );
  });

  it('reads one text for each value and no other', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 8 }), (text) => {
        const bytes = decodeBase64(text);
        expect(bytes === undefined ? text : encodeBase64(bytes)).toBe(text);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    'A',
    'AA',
    'AAA',
    'A===',
    '====',
    '=',
    'AA=A',
    'A A=',
    'AAAA\n',
    'AB==',
    'AAB=',
    '-_-_',
    'AAAA=',
    'ÄAAA',
    'AA==AAAA',
  ])('refuses %j', (text) => {
    expect(decodeBase64(text)).toBeUndefined();
  });

  it('knows the vectors of RFC 4648, section 10', () => {
    const vectors = {
      '': '',
      f: 'Zg==',
      fo: 'Zm8=',
      foo: 'Zm9v',
      foob: 'Zm9vYg==',
      fooba: 'Zm9vYmE=',
      foobar: 'Zm9vYmFy',
    };
    for (const [plain, text] of Object.entries(vectors)) {
      expect(encodeBase64(new TextEncoder().encode(plain))).toBe(text);
    }
  });
});
