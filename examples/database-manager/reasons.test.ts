import { describe, expect, it } from 'vitest';
import { reasons, Refusal, refusalOf, refusalOfError } from './reasons.ts';

describe('refusals', () => {
  it.each([
    ['42P04', 'DATABASE_EXISTS'],
    ['55006', 'DATABASE_IN_USE'],
    ['42501', 'DATABASE_RIGHTS'],
    ['0A000', 'EXTENSION_UNKNOWN'],
    ['22023', 'DATABASE_REFUSED'],
  ])('SQLSTATE %s is %s', (sqlState, code) => {
    expect(refusalOf(sqlState, 'why')?.reason).toMatchObject({ code, fix: reasons[code as keyof typeof reasons] });
  });

  it.each(['08006', '40P01', '53300', '57P01', '58030', '55P03', undefined])('SQLSTATE %s passes', (sqlState) => {
    expect(refusalOf(sqlState, 'why')).toBeNull();
  });

  it('are told from what is thrown by anything but the server', () => {
    const refusal = new Refusal('DATABASE_UNKNOWN', 'there is none');
    expect(refusalOfError(refusal)).toBe(refusal);
    expect(refusalOfError(Object.assign(new Error('lost'), { code: 'ECONNRESET' }))).toBeNull();
    expect(refusalOfError(new TypeError('a defect'))).toBeNull();
    expect(refusalOfError(null)).toBeNull();
    expect(refusalOfError(Object.assign(new Error('no'), { code: '42501', severity: 'ERROR' }))?.code).toBe(
      'DATABASE_RIGHTS',
    );
  });
});
