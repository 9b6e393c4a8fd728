import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openDatabase, type Database } from './binding.ts';
import { makeNamesDurable } from './durable-names.ts';
import { files } from './options.ts';

let directory = '';
const opened: Database[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'carillon-names-'));
});

afterEach(() => {
  for (const database of opened.splice(0)) database.close();
  rmSync(directory, { recursive: true, force: true });
});

function open(): Database {
  const database = openDatabase(join(directory, files.database), 100);
  opened.push(database);
  database.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = FULL');
  return database;
}

const logBytes = (): number => statSync(join(directory, `${files.database}-wal`)).size;

it('a log that an earlier process left is written to, so that SQLite flushes the directory before we do and not after', () => {
  open().exec('CREATE TABLE t (a)');
  const left = logBytes();
  expect(left).toBeGreaterThan(0);
  makeNamesDurable(open(), directory);
  expect(logBytes()).toBeGreaterThan(left);
});

it('a directory that has no log yet has one then', () => {
  makeNamesDurable(open(), directory);
  expect(logBytes()).toBeGreaterThan(0);
});
