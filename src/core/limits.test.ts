import { describe, expect, it } from 'vitest';
import { defaultLimits, resolveLimits } from './limits.ts';

describe('resolveLimits', () => {
  it('replaces what is given', () => {
    expect(resolveLimits()).toEqual(defaultLimits);
    expect(resolveLimits({ scanMax: 5 })).toEqual({ ...defaultLimits, scanMax: 5 });
  });

  it.each([
    { unknown: 1 },
    { constructor: 1 },
    JSON.parse('{"__proto__":1}'),
    { scanMax: -1 },
    { scanMax: Number.NaN },
    { scanMax: '5' },
    { scanMax: undefined },
  ])('refuses %j', (given) => {
    expect(() => resolveLimits(given as object)).toThrow(expect.objectContaining({ code: 'CARILLON_OPTION_INVALID' }));
  });
});
