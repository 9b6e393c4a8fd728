import { closeSync, fsyncSync, openSync } from 'node:fs';
import { carillonError, toError } from '../../core/index.ts';
import type { Database } from './binding.ts';
import { storageError } from './sqlite-errors.ts';

/**
 * Makes the names of the database's files durable. SQLite does so too, but passes over an error of it: a write-ahead log
 * whose name is lost with the power is lost with all that was acknowledged in it.
 */
export function makeNamesDurable(database: Database, directory: string): void {
  writeLog(database);
  const file = openSync(directory, 'r');
  try {
    fsyncSync(file);
  } catch (thrown) {
    const { message } = toError(thrown);
    throw carillonError('CARILLON_ENGINE_FAILED', `flushing ${directory}: ${message}`, { directory }, thrown);
  } finally {
    closeSync(file);
  }
}

/**
 * SQLite makes the log with the first write, and flushes the directory with the first write of each connection, even
 * where the log was there: here one that changes nothing. So its flush, whose error is passed over, comes before ours.
 */
function writeLog(database: Database): void {
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number };
  try {
    database.exec(`PRAGMA user_version = ${version}`);
  } catch (thrown) {
    // On a full disk there is no log to lose; what is there can still be read.
    if (storageError(thrown, 'making the write-ahead log').code !== 'CARILLON_STORAGE_FULL') throw thrown;
  }
}
