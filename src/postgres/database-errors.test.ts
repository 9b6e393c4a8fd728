import { describe, expect, it } from 'vitest';
import { carillonError, isCarillonError } from '../core/index.ts';
import { databaseError, sqlStateOf } from './database-errors.ts';

const said = (code: string, message: string = 'what the server says'): Error =>
  Object.assign(new Error(message), { severity: 'ERROR', code });

describe('databaseError', () => {
  it.each([
    ['28000', 'CARILLON_DATABASE_LOGIN'],
    ['28P01', 'CARILLON_DATABASE_LOGIN'],
    ['3D000', 'CARILLON_DATABASE_UNKNOWN'],
    ['42501', 'CARILLON_DATABASE_RIGHTS'],
    ['25006', 'CARILLON_DATABASE_READ_ONLY'],
    ['53100', 'CARILLON_STORAGE_FULL'],
    ['40001', 'CARILLON_STORAGE_BUSY'],
    ['40P01', 'CARILLON_STORAGE_BUSY'],
    ['53300', 'CARILLON_DATABASE_UNREACHABLE'],
    ['57P01', 'CARILLON_DATABASE_UNREACHABLE'],
    ['57P03', 'CARILLON_DATABASE_UNREACHABLE'],
    ['08006', 'CARILLON_DATABASE_UNREACHABLE'],
  ])('SQLSTATE %s is %s', (code, expected) => {
    const error = databaseError(said(code), 'h:1/d');
    expect(error).toMatchObject({
      code: expected,
      message: 'h:1/d: what the server says',
      details: { database: 'h:1/d', sqlState: code },
    });
    expect(sqlStateOf(error)).toBe(code);
  });

  it('what the server says of a statement for a reason of its own stays as it is', () => {
    const error = said('23505');
    expect(databaseError(error, 'h:1/d')).toBe(error);
    expect(sqlStateOf(error)).toBe('23505');
  });

  it('the same, of a connection that is gone, is its end: nobody knows what became of the rest', () => {
    expect(databaseError(said('23505'), 'h:1/d', 'broken')).toMatchObject({ code: 'CARILLON_DATABASE_UNREACHABLE' });
  });

  it('what no server said is the connection’s, and has no SQLSTATE', () => {
    const thrown = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' });
    const error = databaseError(thrown, 'h:1/d');
    expect(error).toMatchObject({ code: 'CARILLON_DATABASE_UNREACHABLE', details: { database: 'h:1/d' } });
    expect(error.cause).toBe(thrown);
    expect(sqlStateOf(error)).toBeUndefined();
    expect(sqlStateOf(undefined)).toBeUndefined();
  });

  it.each([
    [new Error('The server does not support SSL connections')],
    [Object.assign(new Error('self-signed certificate'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })],
    [Object.assign(new Error('unable to verify'), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })],
    [Object.assign(new Error('the name does not match'), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })],
  ])('%s is not a matter of the network, and is not tried again', (thrown) => {
    expect(databaseError(thrown, 'h:1/d')).toMatchObject({ code: 'CARILLON_DATABASE_TLS', retryable: false });
  });

  it.each(['client password must be a string', 'client password must be a non-empty string'])(
    '“%s” is told as a password that is missing',
    (message) => {
      expect(databaseError(new Error(`SASL: SCRAM-SERVER-FIRST-MESSAGE: ${message}`), 'h:1/d')).toMatchObject({
        code: 'CARILLON_DATABASE_LOGIN',
        message: 'h:1/d: the server asks for a password, and none was given',
      });
    },
  );

  it('one of the catalogue stays as it is, and what is no error becomes one', () => {
    const known = carillonError('CARILLON_STOPPED', 'closed');
    expect(databaseError(known, 'h:1/d', 'broken')).toBe(known);
    expect(isCarillonError(databaseError('text', 'h:1/d'), 'CARILLON_DATABASE_UNREACHABLE')).toBe(true);
  });
});
