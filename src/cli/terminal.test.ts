import { describe, expect, it } from 'vitest';
import { printable, shortened, table } from './terminal.ts';

describe('printable', () => {
  it('shows as escapes what could deceive', () => {
    expect(printable('a\nb\r\u001b[31mc\u0007\u009b\u202ed\u2028')).toBe(
      'a\\u000ab\\u000d\\u001b[31mc\\u0007\\u009b\\u202ed\\u2028',
    );
  });
  it('leaves other text alone', () => {
    expect(printable('Grüße, 世界 😀 "quoted"')).toBe('Grüße, 世界 😀 "quoted"');
  });
});

it('shortened keeps to its bound', () => {
  expect(shortened('abcdef', 6)).toBe('abcdef');
  expect(shortened('abcdefg', 6)).toBe('abc...');
});

it('table lines columns up', () => {
  expect(
    table([
      ['a', 'bb', ''],
      ['ccc', 'd', 'e'],
    ]),
  ).toEqual(['a    bb', 'ccc  d   e']);
});
