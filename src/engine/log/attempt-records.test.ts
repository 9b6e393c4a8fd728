import { describe, expect, it } from 'vitest';
import { defaultLimits, type AttemptRecord } from '../../core/index.ts';
import { keepRecords } from './attempt-records.ts';

const record = (attempt: number): AttemptRecord => ({ attempt }) as AttemptRecord;

function kept(attempts: number, attemptRecordsMax: number): number[] {
  let records: readonly AttemptRecord[] = [];
  for (let attempt = 1; attempt <= attempts; attempt++) {
    records = keepRecords(records, record(attempt), { ...defaultLimits, attemptRecordsMax });
  }
  return records.map(({ attempt }) => attempt);
}

describe('keepRecords', () => {
  it.each([
    [3, 5, [1, 2, 3]],
    [5, 5, [1, 2, 3, 4, 5]],
    [9, 5, [1, 6, 7, 8, 9]],
    [9, 2, [1, 9]],
    [9, 0, [1, 9]],
    [9, Infinity, [1, 2, 3, 4, 5, 6, 7, 8, 9]],
  ])('of %i with a bound of %i are %j', (attempts, max, expected) => {
    expect(kept(attempts, max)).toEqual(expected);
  });

  it('leaves the records it was given as they are', () => {
    const records = [record(1)];
    keepRecords(records, record(2), defaultLimits);
    expect(records.length).toBe(1);
  });
});
