import { resolve } from 'node:path';
import { carillonError } from '../../core/index.ts';
import type { Engine } from '../../engine/index.ts';
import { logEngine } from '../../engine/log/index.ts';
import type { SqliteOptions } from './options.ts';
import { SqliteStore } from './store.ts';

export type { SqliteOptions };

/**
 * An engine on SQLite, embedded in this process: no server to install, one process per directory.
 *
 * Durability: `publish` resolves after the write-ahead log was flushed to the disk (WAL, `synchronous=FULL`); publishes
 * made while a flush is under way share the next one. The database is owned by a thread of its own, so the event loop
 * never waits for the disk. A failed flush fails the engine for good; a full disk refuses new events and lets
 * acknowledgements go on.
 *
 * Fails on open with `CARILLON_DIRECTORY_LOCKED` (naming the owner), `CARILLON_STORAGE_ACCESS`,
 * `CARILLON_STORAGE_CORRUPT`, `CARILLON_STORAGE_VERSION`.
 * @param where the data directory, or options
 */
export function sqlite(where: string | SqliteOptions): Engine {
  const options = typeof where === 'string' ? { directory: where } : where;
  if (typeof options.directory !== 'string' || options.directory === '') {
    throw carillonError('CARILLON_OPTION_INVALID', 'sqlite needs the directory of its data', { option: 'directory' });
  }
  return logEngine(new SqliteStore({ ...options, directory: resolve(options.directory) }));
}
