import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { carillonError } from '../../core/index.ts';
import { openDatabase } from './binding.ts';
import { files } from './options.ts';
import { isBusy, storageError } from './sqlite-errors.ts';

/**
 * One process per data directory. The lock is SQLite's own, on an empty database beside the real one: the operating
 * system drops it with the process, however that ends, so there is no stale lock to break and no time-out to wait for.
 * The file that names the owner is only for the message.
 */
export interface DirectoryLock {
  release(): void;
}

interface Owner {
  readonly pid: number;
  readonly host: string;
  readonly title: string;
  readonly since: string;
}

/** @throws `CARILLON_DIRECTORY_LOCKED` naming the owner, `CARILLON_STORAGE_ACCESS` */
export function lockDirectory(directory: string): DirectoryLock {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw carillonError('CARILLON_STORAGE_ACCESS', `the directory ${directory} cannot be made`, { directory }, error);
  }
  const database = openLock(directory);
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    throw isBusy(error) ? lockedError(directory) : storageError(error, `locking ${directory}`);
  }
  const owner: Owner = { pid: process.pid, host: hostname(), title: process.title, since: new Date().toISOString() };
  const ownerFile = join(directory, files.owner);
  nameOwner(ownerFile, owner);
  return {
    release: () => {
      rmSync(ownerFile, { force: true });
      database.close();
    },
  };
}

function nameOwner(file: string, owner: Owner): void {
  try {
    writeFileSync(file, `${JSON.stringify(owner)}\n`);
  } catch {
    // A full disk must not keep the directory from being opened: the lock holds, only its message will be poorer.
    rmSync(file, { force: true });
  }
}

function openLock(directory: string): ReturnType<typeof openDatabase> {
  try {
    return openDatabase(join(directory, files.lock), 0);
  } catch (error) {
    throw storageError(error, `opening the lock of ${directory}`);
  }
}

function lockedError(directory: string): Error {
  const owner = readOwner(directory);
  const told = owner
    ? `process ${owner.pid} (${owner.title}) on ${owner.host} since ${owner.since}`
    : 'another process';
  return carillonError('CARILLON_DIRECTORY_LOCKED', `${directory} is in use by ${told}`, { directory, ...owner });
}

function readOwner(directory: string): Owner | null {
  try {
    return JSON.parse(readFileSync(join(directory, files.owner), 'utf8')) as Owner;
  } catch {
    // It may be being written this moment, or be gone: the lock holds all the same.
    return null;
  }
}
