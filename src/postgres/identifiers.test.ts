import { describe, expect, it } from 'vitest';
import { quoteIdentifier } from './identifiers.ts';

describe('quoteIdentifier', () => {
  it.each([
    ['carillon', '"carillon"'],
    ['Mixed Case', '"Mixed Case"'],
    ['a"b""c', '"a""b""""c"'],
    [`x"; DROP SCHEMA public; --`, `"x""; DROP SCHEMA public; --"`],
    ["it's", `"it's"`],
    [String.raw`back\slash`, String.raw`"back\slash"`],
    ['x'.repeat(63), `"${'x'.repeat(63)}"`],
    ['ü'.repeat(31), `"${'ü'.repeat(31)}"`],
  ])('%s', (name, quoted) => expect(quoteIdentifier(name)).toBe(quoted));

  it.each([
    ['', 'must be text, and not empty'],
    ['a\0b', 'holds a NUL'],
    ['x'.repeat(64), 'is longer than 63 bytes'],
    // Bytes count, not characters: PostgreSQL would cut it off in silence.
    ['ü'.repeat(32), 'is longer than 63 bytes'],
    [5 as unknown as string, 'must be text'],
  ])('%j is refused, and named as what it was to be', (name, why) => {
    expect(() => quoteIdentifier(name, 'schema')).toThrow(
      expect.objectContaining({
        code: 'CARILLON_OPTION_INVALID',
        message: expect.stringContaining(why) as string,
        details: { option: 'schema' },
      }),
    );
  });
});
