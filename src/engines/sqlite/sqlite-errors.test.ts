import { describe, expect, it } from 'vitest';
import { carillonError } from '../../core/index.ts';
import { isBusy, plainError, storageError } from './sqlite-errors.ts';

const thrown = (errcode: number): Error => Object.assign(new Error('as SQLite says'), { errcode });

describe('storageError', () => {
  it.each([
    [13, 'CARILLON_STORAGE_FULL'],
    [4874, 'CARILLON_STORAGE_FULL'],
    [11, 'CARILLON_STORAGE_CORRUPT'],
    [267, 'CARILLON_STORAGE_CORRUPT'],
    [26, 'CARILLON_STORAGE_CORRUPT'],
    [14, 'CARILLON_STORAGE_ACCESS'],
    [526, 'CARILLON_STORAGE_ACCESS'],
    [8, 'CARILLON_STORAGE_ACCESS'],
    [3, 'CARILLON_STORAGE_ACCESS'],
    [5, 'CARILLON_STORAGE_BUSY'],
    [261, 'CARILLON_STORAGE_BUSY'],
    [10, 'CARILLON_ENGINE_FAILED'],
    [1034, 'CARILLON_ENGINE_FAILED'],
    [1, 'CARILLON_BUG'],
    [19, 'CARILLON_BUG'],
  ])('makes of code %i %s', (code, expected) => {
    const error = storageError(thrown(code), 'committing');
    expect(error.code).toBe(expected);
    expect(error.message).toBe('committing: as SQLite says');
    expect(error.details).toEqual({ sqliteCode: code });
    expect(error.cause).toBeInstanceOf(Error);
  });

  it.each([
    ['database disk image is malformed', 'CARILLON_STORAGE_CORRUPT'],
    ['file is not a database', 'CARILLON_STORAGE_CORRUPT'],
    ['disk I/O error', 'CARILLON_ENGINE_FAILED'],
    ['database or disk is full', 'CARILLON_STORAGE_FULL'],
    ['database is locked', 'CARILLON_STORAGE_BUSY'],
    ['unable to open database file', 'CARILLON_STORAGE_ACCESS'],
    ['attempt to write a readonly database', 'CARILLON_STORAGE_ACCESS'],
    ['access permission denied', 'CARILLON_STORAGE_ACCESS'],
    ['near "x": syntax error', 'CARILLON_BUG'],
  ])('knows "%s" where the binding gives no code', (message, expected) => {
    expect(storageError(Object.assign(new Error(message), { code: 'ERR_SQLITE_ERROR' }), 'x').code).toBe(expected);
    expect(storageError(new Error(message), 'x').code).toBe('CARILLON_BUG');
  });

  it('takes a full disk that the file system reports for what it is', () => {
    const full = Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    expect(storageError(full, 'x').code).toBe('CARILLON_STORAGE_FULL');
  });

  it('fails the engine when a flush of the file system fails', () => {
    const failed = Object.assign(new Error('i/o error'), { code: 'EIO' });
    expect(storageError(failed, 'x').code).toBe('CARILLON_ENGINE_FAILED');
  });

  it.each([[new Error('what')], ['a text'], [null], [undefined], [{ errcode: 'text' }]])(
    'takes anything else for a defect: %o',
    (what) => {
      expect(storageError(what, 'x').code).toBe('CARILLON_BUG');
    },
  );

  it('leaves an error of the catalogue as it is', () => {
    const error = carillonError('CARILLON_STOPPED', 'the bus is stopped');
    expect(storageError(error, 'x')).toBe(error);
  });
});

describe('plainError', () => {
  it('is data, with all that rebuilds the error', () => {
    const plain = plainError(thrown(13), 'committing');
    expect(plain).toEqual({
      code: 'CARILLON_STORAGE_FULL',
      message: 'committing: as SQLite says',
      details: { sqliteCode: 13 },
    });
    expect(structuredClone(plain)).toEqual(plain);
  });
});

describe('isBusy', () => {
  it.each([
    [thrown(5), true],
    [thrown(261), true],
    [thrown(1), false],
    [new Error('x'), false],
    [null, false],
  ])('of %o', (error, busy) => {
    expect(isBusy(error)).toBe(busy);
  });
});
