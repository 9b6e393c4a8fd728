import { describe, expect, it } from 'vitest';
import { carillonError } from '../../core/index.ts';
import { statementError, storeError } from './store-errors.ts';

const said = (code: string): Error => Object.assign(new Error('what it says'), { severity: 'ERROR', code });

describe('what the database says of the engine’s own statements', () => {
  it('that this member is dead: its leases are lost', () => {
    expect(storeError(said('CA001'))).toMatchObject({ code: 'CARILLON_LEASE_LOST', message: 'what it says' });
  });

  it('anything else: the engine has failed, and the cause is kept', () => {
    const cause = said('23505');
    const error = storeError(cause);
    expect(error).toMatchObject({ code: 'CARILLON_ENGINE_FAILED', details: { sqlState: '23505' } });
    expect(error.cause).toBe(cause);
  });

  it('what is catalogued, or no database said, stays as it is', () => {
    const [known, other] = [carillonError('CARILLON_STOPPED', 'closed'), new TypeError('ours')];
    expect(storeError(known)).toBe(known);
    expect(storeError(other)).toBe(other);
  });
});

describe('what the database says of a handler’s statement', () => {
  it('is the handler’s to mend', () => {
    expect(statementError(said('42601'))).toMatchObject({
      code: 'CARILLON_TRANSACTION_FAILED',
      message: 'what it says',
      details: { sqlState: '42601' },
    });
  });

  it('unless it is of the connection', () => {
    const known = carillonError('CARILLON_DATABASE_UNREACHABLE', 'gone');
    expect(statementError(known)).toBe(known);
  });
});
