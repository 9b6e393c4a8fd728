import { describe, expect, it } from 'vitest';
import { assertStatement } from './statements.ts';

const refused = expect.objectContaining({ code: 'CARILLON_TRANSACTION_FAILED' });

describe('assertStatement', () => {
  it.each([
    'BEGIN',
    'COMMIT',
    'END',
    'ROLLBACK',
    'SAVEPOINT s',
    'RELEASE s',
    "ATTACH 'x.db' AS x",
    'DETACH x',
    'VACUUM',
    'PRAGMA synchronous = OFF',
    'commit',
    'Rollback;',
    'COMMIT--at once',
    'COMMIT/* at once */',
    '  \n\tCOMMIT',
    ';COMMIT',
    '; ; COMMIT',
    '-- a comment\nCOMMIT',
    '/* a comment */COMMIT',
    '/* a */ -- b\n /* c\nd */ ; COMMIT',
    '/**/COMMIT',
    '/* ** / */ COMMIT',
  ])('refuses %j', (sql) => {
    expect(() => assertStatement(sql)).toThrow(refused);
  });

  it('names the word it refuses', () => {
    expect(() => assertStatement('/* x */ vacuum')).toThrow('VACUUM');
  });

  it.each([
    'SELECT * FROM carillon_events',
    'DELETE FROM "carillon_deliveries"',
    'DELETE FROM [carillon_deliveries]',
    'DELETE FROM main.carillon_deliveries',
    'UPDATE CARILLON_SUBSCRIPTIONS SET state = NULL',
    'WITH x AS (SELECT 1 FROM Carillon_scheduled) SELECT * FROM x',
    'CREATE TABLE carillon_mine (id)',
  ])("refuses the engine's own tables: %j", (sql) => {
    expect(() => assertStatement(sql)).toThrow("engine's own");
  });

  it.each([
    'INSERT INTO orders VALUES (?)',
    '-- COMMIT\nSELECT 1',
    '/* PRAGMA */ SELECT 1',
    'SELECT 1 -- COMMIT',
    'SELECT committed FROM beginnings',
    'SELECT * FROM carillons',
    'SELECT * FROM my_carillon_x',
    'CREATE TABLE beginning (id)',
    'UPDATE ends SET x = 1',
    '-- about carillon_events\nSELECT 1',
    '',
  ])('lets through %j', (sql) => {
    expect(() => assertStatement(sql)).not.toThrow();
  });
});
