import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockDirectory } from './directory-lock.ts';
import { files } from './options.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'carillon-lock-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('lockDirectory', () => {
  it('makes the directory, for its user alone', () => {
    const made = join(directory, 'a', 'b');
    const lock = lockDirectory(made);
    expect(statSync(made).mode & 0o777).toBe(0o700);
    lock.release();
  });

  it('refuses a second locker, naming the first', () => {
    const lock = lockDirectory(directory);
    expect(() => lockDirectory(directory)).toThrow(
      expect.objectContaining({
        code: 'CARILLON_DIRECTORY_LOCKED',
        message: expect.stringContaining(`process ${process.pid} (${process.title}) on ${hostname()}`),
        details: expect.objectContaining({ directory, pid: process.pid, host: hostname() }),
      }),
    );
    lock.release();
  });

  it('refuses a second locker although nothing says who the first is', () => {
    const lock = lockDirectory(directory);
    rmSync(join(directory, files.owner));
    expect(() => lockDirectory(directory)).toThrow('in use by another process');
    writeFileSync(join(directory, files.owner), '{ half a');
    expect(() => lockDirectory(directory)).toThrow('in use by another process');
    lock.release();
  });

  it('still holds after a second locker was refused', () => {
    const lock = lockDirectory(directory);
    for (let tries = 0; tries < 3; tries++) expect(() => lockDirectory(directory)).toThrow('in use');
    lock.release();
  });

  it('is free once released, and nobody is named any more', () => {
    lockDirectory(directory).release();
    expect(existsSync(join(directory, files.owner))).toBe(false);
    const again = lockDirectory(directory);
    expect(JSON.parse(readFileSync(join(directory, files.owner), 'utf8'))).toMatchObject({ pid: process.pid });
    again.release();
  });

  it('takes no notice of an owner file that a dead process left', () => {
    const stale = { pid: 1, host: 'gone', title: 'carillon', since: '2020-01-01T00:00:00Z' };
    writeFileSync(join(directory, files.owner), JSON.stringify(stale));
    const lock = lockDirectory(directory);
    expect(JSON.parse(readFileSync(join(directory, files.owner), 'utf8'))).toMatchObject({ pid: process.pid });
    lock.release();
  });

  it('refuses a path that cannot be a directory', () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    for (const path of [file, join(file, 'below')]) {
      expect(() => lockDirectory(path)).toThrow(expect.objectContaining({ code: 'CARILLON_STORAGE_ACCESS' }));
    }
  });
});
