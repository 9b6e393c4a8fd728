import { describe, expect, it } from 'vitest';
import { carillonError, catalogue, type ErrorCode } from '../core/index.ts';
import { HttpError, problemOf } from './problem.ts';

const statusOf = (code: ErrorCode): number => problemOf(carillonError(code, 'x')).status;

const codes = Object.keys(catalogue) as ErrorCode[];

describe('the status', () => {
  it('is an error status for every code, and 500 only where no client can mend it', () => {
    const statuses = codes.map((code) => [code, statusOf(code)] as const);
    expect(statuses.filter(([, status]) => status < 400 || status > 599)).toEqual([]);
    expect(statuses.filter(([, status]) => status === 500).map(([code]) => code)).toEqual([
      'CARILLON_SCHEMA_ASYNC',
      'CARILLON_BUG',
    ]);
  });

  it.each([
    ['CARILLON_ATTRIBUTE_INVALID', 400],
    ['CARILLON_DATA_INVALID', 400],
    ['CARILLON_OPTION_INVALID', 400],
    ['CARILLON_REVISION_CONFLICT', 409],
    ['CARILLON_REFUSED', 409],
    ['CARILLON_EVENT_TOO_LARGE', 413],
    ['CARILLON_BATCH_TOO_LARGE', 413],
    ['CARILLON_OVERLOADED', 503],
    ['CARILLON_STORAGE_FULL', 503],
    ['CARILLON_ENGINE_FAILED', 503],
    ['CARILLON_STOPPED', 503],
    ['CARILLON_SYNC_TIMEOUT', 504],
    ['CARILLON_GAP', 410],
    ['CARILLON_DEAD_LETTER_UNKNOWN', 404],
  ] as const)('%s is %d', (code, status) => {
    expect(statusOf(code)).toBe(status);
  });
});

describe('problemOf', () => {
  it('tells code, message, fix and details, and nothing else', () => {
    const error = carillonError('CARILLON_DATA_INVALID', 'no', { issues: [] }, new Error('inner'));
    expect(problemOf(error)).toEqual({
      status: 400,
      headers: {},
      body: { code: 'CARILLON_DATA_INVALID', message: 'no', fix: error.fix, details: { issues: [] } },
    });
  });

  it('asks to come back when it is worth it', () => {
    expect(problemOf(carillonError('CARILLON_OVERLOADED', 'x')).headers).toEqual({ 'retry-after': '1' });
    expect(problemOf(carillonError('CARILLON_STORAGE_CORRUPT', 'x')).headers).toEqual({});
  });

  it('tells why a sync handler refused', () => {
    const refused = carillonError('CARILLON_REFUSED', 'refused by welcome.polite', {}, new Error('no name'));
    expect(problemOf(refused).body.message).toBe('refused by welcome.polite: no name');
  });

  it.each([
    ['an error of somebody else', new Error('/home/user/secret.ts')],
    ['a defect of ours', carillonError('CARILLON_BUG', 'secret invariant')],
    ['a string', 'secret'],
    ['null', null],
  ])('says no more than that it failed for %s', (_what, thrown) => {
    const { status, body } = problemOf(thrown);
    expect(status).toBe(500);
    expect(body).toMatchObject({ code: 'CARILLON_BUG', message: 'the server failed; its log says how', details: {} });
    expect(JSON.stringify(body)).not.toMatch(/secret|\.ts|at .*:\d+/);
  });

  it('keeps the status that HTTP chose', () => {
    const thrown = new HttpError(405, carillonError('CARILLON_OPTION_INVALID', 'x'), { allow: 'GET' });
    expect(problemOf(thrown)).toMatchObject({ status: 405, headers: { allow: 'GET' } });
  });
});
