import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { uuidv7 } from '../../core/index.ts';
import { dedupeNumber } from './deduplication.ts';

/** A UUIDv7 of that millisecond, with those 12 bits after the version and that tail. */
const v7 = (ms: number, bits: number, tail = '8000-000000000000'): string => {
  const time = ms.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${bits.toString(16).padStart(3, '0')}-${tail}`;
};

describe('dedupeNumber', () => {
  it('is the same for the same source and id, and fits 53 bits', () => {
    fc.assert(
      fc.property(fc.string(), fc.oneof(fc.string(), fc.uuid({ version: 7 })), (source, id) => {
        const number = dedupeNumber(source, id);
        expect(Number.isSafeInteger(number) && number >= 0).toBe(true);
        expect(dedupeNumber(source, id)).toBe(number);
      }),
    );
  });

  it('rises with the time of a UUIDv7, whatever its source', () => {
    const inTime = fc.tuple(fc.nat(2 ** 40), fc.integer({ min: 1, max: 2 ** 40 }), fc.nat(2047), fc.nat(2047));
    fc.assert(
      fc.property(inTime, fc.string(), fc.string(), ([ms, more, a, b], source, other) => {
        expect(dedupeNumber(source, v7(ms, a))).toBeLessThan(dedupeNumber(other, v7(ms + more, b)));
      }),
    );
  });

  it('rises with the counter within one millisecond', () => {
    expect(dedupeNumber('/s', v7(5, 1))).toBe(dedupeNumber('/s', v7(5, 0)) + 1);
    expect(dedupeNumber('/s', v7(5, 2047))).toBe(dedupeNumber('/s', v7(6, 0)) - 1);
  });

  it('is the same for UUIDv7 of one millisecond and the same 11 bits', () => {
    const number = dedupeNumber('/s', v7(5, 3));
    expect(dedupeNumber('/other', v7(5, 3, 'bfff-ffffffffffff'))).toBe(number);
    expect(dedupeNumber('/s', v7(5, 3 + 2048))).toBe(number);
  });

  it('rises for ids as they are made', () => {
    const ids = Array.from({ length: 1000 }, () => uuidv7(1_767_225_600_000));
    const numbers = ids.map((id) => dedupeNumber('/s', id));
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(new Set(numbers).size).toBe(1000);
  });

  it.each([
    ['another version', '0198c0f5-5f3a-4000-8000-000000000000'],
    ['another variant', '0198c0f5-5f3a-7000-c000-000000000000'],
    ['upper case', '0198C0F5-5F3A-7000-8000-000000000000'],
    ['a text of that length', '______________7_____________________'],
  ])('hashes %s, source and id together', (_what, id) => {
    const numbers = [dedupeNumber('/a', id), dedupeNumber('/b', id), dedupeNumber('/a', `${id.slice(0, -1)}1`)];
    expect(new Set(numbers).size).toBe(3);
  });

  it('tells where the source ends', () => {
    expect(dedupeNumber('ab', 'c')).not.toBe(dedupeNumber('a', 'bc'));
  });

  it('hashes spread evenly and seldom meet', () => {
    const buckets = Array.from({ length: 64 }, () => 0);
    const seen = new Set<number>();
    for (let no = 0; no < 64_000; no++) {
      const number = dedupeNumber('/machines', `order-${no}`);
      seen.add(number);
      const bucket = Math.floor(number / 2 ** 47);
      buckets[bucket] = (buckets[bucket] ?? 0) + 1;
    }
    expect(seen.size).toBeGreaterThan(63_990);
    expect(Math.min(...buckets)).toBeGreaterThan(600);
    expect(Math.max(...buckets)).toBeLessThan(1500);
  });
});
