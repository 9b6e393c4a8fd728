import { describe, expect, it, vi } from 'vitest';
import { catalogue } from './error-catalogue.ts';
import { assert, carillonError, type ErrorCode, isCarillonError, toError } from './errors.ts';

const rows = Object.entries(catalogue);

describe('the catalogue', () => {
  it.each(rows)('%s has a code, a kind and a fix', (code, { kind, fix, retryable }) => {
    expect(code).toMatch(/^CARILLON_[A-Z_]+$/);
    expect(['usage', 'data', 'conflict', 'unavailable', 'timeout', 'limit', 'storage', 'bug']).toContain(kind);
    expect(fix).toMatch(/^[A-Z].{10,}\.$|^emit /);
    expect(typeof retryable).toBe('boolean');
  });

  it('cannot be changed', () => {
    expect(Object.isFrozen(catalogue)).toBe(true);
  });
});

describe('carillonError', () => {
  it('says all its row says', () => {
    const cause = new Error('inner');
    const error = carillonError('CARILLON_OVERLOADED', 'too much', { limit: 'x' }, cause);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: 'CarillonError',
      code: 'CARILLON_OVERLOADED',
      message: 'too much',
      details: { limit: 'x' },
      cause,
      ...catalogue.CARILLON_OVERLOADED,
    });
    expect(error.retryable).toBe(true);
    expect(error.stack).toContain('errors.test.ts');
    expect('cause' in carillonError('CARILLON_BUG', 'x')).toBe(false);
  });

  it('is recognised, by its code too, and by another copy of the module', async () => {
    vi.resetModules();
    const copy = await import('./errors.ts');
    expect(copy.isCarillonError).not.toBe(isCarillonError);
    const error = copy.carillonError('CARILLON_GAP', 'gone');
    expect(isCarillonError(error)).toBe(true);
    expect(isCarillonError(error, 'CARILLON_GAP')).toBe(true);
    expect(isCarillonError(error, 'CARILLON_BUG')).toBe(false);
  });

  it.each([undefined, null, 'CARILLON_GAP', new Error('x'), { code: 'CARILLON_GAP' satisfies ErrorCode }])(
    'is not %s',
    (value) => {
      expect(isCarillonError(value)).toBe(false);
    },
  );
});

describe('assert', () => {
  it('throws our defect when it does not hold', () => {
    expect(() => assert(true, 'x')).not.toThrow();
    expect(() => assert(false, 'x')).toThrow(
      expect.objectContaining({ code: 'CARILLON_BUG', retryable: false, message: 'x' }),
    );
  });
});

describe('toError', () => {
  it.each([
    ['text', 'text'],
    [5, '5'],
    [null, 'null'],
    [undefined, 'undefined'],
    [Symbol('s'), 'Symbol(s)'],
    [{ message: 'of another realm', name: 'TypeError' }, 'of another realm'],
    [{ message: 5 }, '[object Object]'],
    [Object.create(null), 'a value that cannot be shown was thrown'],
  ])('makes an Error of what was thrown', (thrown, message) => {
    const error = toError(thrown);
    expect(error).toBeInstanceOf(Error);
    expect(error.message).toBe(message);
  });

  it('leaves an Error as it is', () => {
    const error = new RangeError('x');
    expect(toError(error)).toBe(error);
    expect(toError({ name: 'TypeError', message: 'x' }).name).toBe('TypeError');
  });
});
