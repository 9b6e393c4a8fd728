import { describe, expect, it } from 'vitest';
import { assertStatementAllowed, parametersOf } from './statements.ts';

const refused = expect.objectContaining({ code: 'CARILLON_TRANSACTION_FAILED' });

describe('what a handler may run in its transaction', () => {
  it.each([
    'SELECT 1',
    'insert into notes values ($1)',
    'WITH a AS (SELECT 1) SELECT * FROM a',
    'SET LOCAL statement_timeout = 5',
    'SET CONSTRAINTS ALL DEFERRED',
    '/* COMMIT */ SELECT 1',
    '-- COMMIT\nSELECT 1',
    'UPDATE begins SET commit = 1',
    'SELECT mycarillon.x FROM mycarillon',
    'SELECT carillonic FROM t',
    '(SELECT 1)',
    '',
  ])('%j', (sql) => expect(() => assertStatementAllowed(sql, 'carillon')).not.toThrow());

  it.each([
    'COMMIT',
    'commit and chain',
    'END',
    'ROLLBACK TO SAVEPOINT s',
    'ABORT',
    'BEGIN',
    'START TRANSACTION',
    'SAVEPOINT s',
    'RELEASE s',
    'PREPARE TRANSACTION $$x$$',
    'LISTEN x',
    'DISCARD ALL',
    'SET search_path = x',
    'SET SESSION work_mem = 1',
    '  \n\t COMMIT',
    '-- why\nCOMMIT',
    '/* why */ /* and */ COMMIT',
    // Comments are nested in PostgreSQL, and a statement may be empty.
    '/* a /* b */ c */ COMMIT',
    ';COMMIT',
    ' ; /* x */ ; ROLLBACK',
  ])('but not %j', (sql) => expect(() => assertStatementAllowed(sql, 'carillon')).toThrow(refused));

  it.each([
    ['DELETE FROM carillon.events', 'carillon'],
    ['DELETE FROM "carillon".events', 'carillon'],
    ['DELETE FROM Carillon . events', 'carillon'],
    ['SELECT carillon.free_member(1)', 'carillon'],
    ['DELETE FROM "a.b".events', 'a.b'],
    ['DELETE FROM "a""b".events', 'a"b'],
    ['DELETE FROM "$x".events', '$x'],
  ])('nor %j, where the engine’s schema is %s', (sql, schema) => {
    expect(() => assertStatementAllowed(sql, schema)).toThrow(refused);
  });

  it('an unclosed comment is the server’s to refuse', () => {
    expect(() => assertStatementAllowed('/* COMMIT', 'carillon')).not.toThrow();
  });

  it('bytes are given as pg takes them, all else as it is', () => {
    const [bytes, ...others] = parametersOf([new Uint8Array([1, 2]), 'text', 5, null, 5n]);
    expect(Buffer.isBuffer(bytes) && bytes.equals(Buffer.from([1, 2]))).toBe(true);
    expect(others).toEqual(['text', 5, null, 5n]);
  });
});
