import { describe, expect, it } from 'vitest';
import { carillonError } from '../../core/index.ts';
import { failureOf, isPassing } from './refusals.ts';

describe('isPassing', () => {
  it.each([
    ['CARILLON_STORAGE_FULL', true],
    ['CARILLON_STORAGE_BUSY', true],
    ['CARILLON_DATABASE_UNREACHABLE', true],
    ['CARILLON_DATABASE_READ_ONLY', true],
    ['CARILLON_ENGINE_FAILED', false],
    ['CARILLON_STORAGE_CORRUPT', false],
    ['CARILLON_DATABASE_RIGHTS', false],
    ['CARILLON_LEASE_LOST', false],
  ] as const)('%s: %s', (code, passing) => {
    expect(isPassing(carillonError(code, 'refused'))).toBe(passing);
  });

  it('what is not of the catalogue does not pass', () => {
    expect(isPassing(new Error('refused'))).toBe(false);
  });
});

describe('failureOf', () => {
  it('is nothing that who publishes could mend: a relay that sets aside what is wrong must not set this aside', () => {
    const error = carillonError('CARILLON_DATABASE_RIGHTS', 'permission denied for table events', {
      sqlState: '42501',
    });
    expect(failureOf(error)).toMatchObject({
      code: 'CARILLON_ENGINE_FAILED',
      retryable: true,
      message: 'permission denied for table events',
      details: { sqlState: '42501', code: 'CARILLON_DATABASE_RIGHTS' },
      cause: error,
    });
  });

  it('any other stays as it is', () => {
    const errors = [carillonError('CARILLON_STORAGE_CORRUPT', 'the log is damaged'), new Error('unheard of')];
    expect(errors.map(failureOf)).toEqual(errors);
  });
});
