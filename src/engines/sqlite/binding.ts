import { createRequire } from 'node:module';
import type { DatabaseSync } from '@photostructure/sqlite';
import { carillonError } from '../../core/index.ts';

/** A connection. Both bindings have this interface. */
export type Database = InstanceType<typeof DatabaseSync>;
export type Statement = ReturnType<Database['prepare']>;

interface Binding {
  readonly DatabaseSync: new (path: string, options?: { readonly timeout?: number }) => Database;
}

/** From this version on `node:sqlite` is there without a flag or a warning. */
const NODE_SQLITE_SINCE = 24;
/** Older ones can corrupt the database when a write-ahead log is reset (sqlite.org/wal.html#walresetbug). */
const SQLITE_MIN = [3, 51, 3] as const;

/** Node's own SQLite where there is one, else the package with the same interface. See docs/adr/0003-sqlite-binding.md. */
function loadBinding(): Binding {
  const require = createRequire(import.meta.url);
  const major = Number(process.versions.node.split('.')[0]);
  return require(major >= NODE_SQLITE_SINCE ? 'node:sqlite' : '@photostructure/sqlite') as Binding;
}

let binding: Binding | null = null;

/** Opens a database file. @param timeoutMs how long to wait for a lock that another connection holds */
export function openDatabase(path: string, timeoutMs: number): Database {
  binding ??= loadBinding();
  return new binding.DatabaseSync(path, { timeout: timeoutMs });
}

export function assertSqliteVersion(database: Database): void {
  const { version } = database.prepare('SELECT sqlite_version() AS version').get() as { version: string };
  const parts = version.split('.').map(Number);
  for (const [index, wanted] of SQLITE_MIN.entries()) {
    const found = parts[index] ?? 0;
    if (found > wanted) return;
    if (found < wanted) {
      throw carillonError('CARILLON_UNSUPPORTED', `SQLite ${version} is older than ${SQLITE_MIN.join('.')}`, {
        version,
      });
    }
  }
}
