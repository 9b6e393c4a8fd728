import { join } from 'node:path';
import { carillonError, type SqlValue } from '../../core/index.ts';
import type { CommitResult, StoreOpened } from '../../engine/log/index.ts';
import { assertSqliteVersion, openDatabase, type Database } from './binding.ts';
import { CommitWriter } from './commit.ts';
import { lockDirectory, type DirectoryLock } from './directory-lock.ts';
import { makeNamesDurable } from './durable-names.ts';
import { CELLS_PER_EVENT, type Calls, type CommitMessage, type Statement } from './messages.ts';
import { migrate } from './schema.ts';
import { files, RESERVE_BYTES_DEFAULT, type SqliteOptions } from './options.ts';
import { Reader } from './reader.ts';
import { Reserve } from './reserve.ts';
import { storageError } from './sqlite-errors.ts';
import { assertStatement } from './statements.ts';

/**
 * The owner of the database, run in a thread of its own so that nobody else ever waits for the disk.
 *
 * States: `new` → `open` ⇄ `in a transaction` (of a handler) → `closed`; any → `failed`, after which it refuses
 * everything and never touches the database again: after a failed fsync the operating system may have dropped what it
 * could not write, and a later success would say nothing of it ("fsyncgate", PostgreSQL 2018).
 *
 * A commit that failed makes those of the same generation fail too, unapplied: they were made on the belief that it
 * would succeed.
 */
const BUSY_TIMEOUT_MS = 5_000;
/** Pages of the write-ahead log from which on it is copied into the database: 16 MiB. */
const CHECKPOINT_PAGES = 4_000;
/** Bytes between two looks at how long the write-ahead log is. */
const CHECKPOINT_LOOK_BYTES = 2 * 1024 * 1024;
const CACHE_KIB = 8 * 1024;

export class StorageThread {
  lock: DirectoryLock | null = null;
  database: Database | null = null;
  commits: CommitWriter | null = null;
  reads: Reader | null = null;
  reserve: Reserve | null = null;
  failure: Error | null = null;
  refusedGeneration = -1;
  inTransaction = false;
  bytesSinceLook = 0;

  call<Name extends keyof Calls>(name: Name, ask: Calls[Name]['ask']): unknown {
    if (this.failure && name !== 'close') throw this.failure;
    const handle = this[name] as (given: Calls[Name]['ask']) => Calls[Name]['answer'];
    try {
      return handle.call(this, ask);
    } catch (thrown) {
      const error = storageError(thrown, `while handling ${name}`);
      if (error.code === 'CARILLON_ENGINE_FAILED' || error.code === 'CARILLON_STORAGE_CORRUPT') this.failure = error;
      throw error;
    }
  }

  open(options: SqliteOptions): StoreOpened {
    const { directory, reserveBytes = RESERVE_BYTES_DEFAULT, sync = 'full' } = options;
    this.lock = lockDirectory(directory);
    try {
      const database = openDatabase(join(directory, files.database), BUSY_TIMEOUT_MS);
      this.database = database;
      assertSqliteVersion(database);
      // Checkpoints are ours: SQLite's own run inside a commit, and swallow an error of the disk.
      database.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;');
      database.exec(`PRAGMA synchronous = ${sync === 'full' ? 'FULL' : 'OFF'}; PRAGMA cache_size = -${CACHE_KIB};`);
      migrate(database);
      makeNamesDurable(database, directory);
      this.commits = new CommitWriter(database);
      this.reads = new Reader(database);
      this.reserve = new Reserve(join(directory, files.reserve), reserveBytes);
      const { first, last, lastRecordedMs } = this.reads.ends();
      return { first, last, lastRecordedMs, nextDueMs: this.reads.nextDueMs(0) };
    } catch (error) {
      this.database?.close();
      this.lock.release();
      throw storageError(error, `opening ${directory}`);
    }
  }

  opened(): { database: Database; commits: CommitWriter; reads: Reader; reserve: Reserve } {
    const { database, commits, reads, reserve } = this;
    if (!database || !commits || !reads || !reserve)
      throw carillonError('CARILLON_STOPPED', 'the database is not open');
    return { database, commits, reads, reserve };
  }

  commit(message: CommitMessage): CommitResult {
    if (message.generation === this.refusedGeneration) {
      throw carillonError('CARILLON_STORAGE_FULL', 'an earlier commit was refused');
    }
    const { database, commits, reserve } = this.opened();
    try {
      if (message.mayRefuse && !reserve.restore()) {
        throw carillonError('CARILLON_STORAGE_FULL', 'the disk has no room for new events');
      }
      database.exec('BEGIN IMMEDIATE');
      const result = commits.write(message);
      database.exec('COMMIT');
      this.noteWritten(message);
      return result;
    } catch (thrown) {
      this.refusedGeneration = message.generation;
      const error = storageError(thrown, 'committing');
      if (error.code !== 'CARILLON_ENGINE_FAILED') this.undo();
      if (error.code === 'CARILLON_STORAGE_FULL') reserve.spend();
      throw error;
    }
  }

  /** SQLite undoes a transaction by itself after some errors, and not after others. */
  undo(): void {
    if (this.database?.isTransaction) this.database.exec('ROLLBACK');
  }

  noteWritten({ cells }: CommitMessage): void {
    // A commit of nothing but states and rows rewrites a page or two.
    this.bytesSinceLook += 8192 + (cells.length / CELLS_PER_EVENT) * 128;
    for (let at = CELLS_PER_EVENT - 1; at < cells.length; at += CELLS_PER_EVENT) {
      this.bytesSinceLook += (cells[at] as string | Uint8Array | null)?.length ?? 0;
    }
  }

  /** Copies the write-ahead log into the database once it is long enough. Called between commits, after the answer. */
  checkpoint(): void {
    if (this.bytesSinceLook < CHECKPOINT_LOOK_BYTES || this.inTransaction || this.failure || !this.database) return;
    this.bytesSinceLook = 0;
    try {
      const state = this.database.prepare('PRAGMA wal_checkpoint(NOOP)').get() as { log: number };
      if (state.log >= CHECKPOINT_PAGES) this.database.prepare('PRAGMA wal_checkpoint(PASSIVE)').get();
    } catch (thrown) {
      const error = storageError(thrown, 'copying the write-ahead log into the database');
      // What is in the log stays there until it can be copied.
      if (error.retryable) return;
      this.failure = error;
    }
  }

  read(ask: Calls['read']['ask']): Calls['read']['answer'] {
    return this.opened().reads.read(ask);
  }

  positionAt(ms: number): number {
    return this.opened().reads.positionAt(ms);
  }

  openSubscription({ name, from }: Calls['openSubscription']['ask']): Calls['openSubscription']['answer'] {
    return this.opened().reads.openSubscription(name, from);
  }

  subscriptionNames(): readonly string[] {
    return this.opened().reads.subscriptionNames();
  }

  readDeliveries(ask: Calls['readDeliveries']['ask']): Calls['readDeliveries']['answer'] {
    return this.opened().reads.readDeliveries(ask);
  }

  heldKeys(subscription: number): Calls['heldKeys']['answer'] {
    return this.opened().reads.heldKeys(subscription);
  }

  deliveryCounts(subscription: number): Calls['deliveryCounts']['answer'] {
    return this.opened().reads.deliveryCounts(subscription);
  }

  readDue({ ms, limit }: Calls['readDue']['ask']): Calls['readDue']['answer'] {
    return this.opened().reads.readDue(ms, limit);
  }

  begin(): null {
    this.opened().database.exec('BEGIN IMMEDIATE');
    this.inTransaction = true;
    return null;
  }

  run({ sql, parameters }: Statement): { readonly changes: number } {
    const { changes } = this.execute(sql, (statement) => statement.run(...parameters));
    return { changes: Number(changes) };
  }

  all({ sql, parameters }: Statement): readonly Readonly<Record<string, SqlValue>>[] {
    const rows = this.execute(sql, (statement) => statement.all(...parameters) as Record<string, SqlValue>[]);
    return rows.map((row) => ({ ...row }));
  }

  execute<Result>(sql: string, how: (statement: ReturnType<Database['prepare']>) => Result): Result {
    this.assertInTransaction();
    assertStatement(sql);
    const { database } = this.opened();
    try {
      return how(database.prepare(sql));
    } catch (thrown) {
      throw failedStatement(thrown);
    }
  }

  assertInTransaction(): void {
    if (!this.inTransaction) throw carillonError('CARILLON_TRANSACTION_TIMEOUT', 'the transaction has ended');
    // Such as INSERT OR ROLLBACK: what came after it would commit by itself.
    if (this.database?.isTransaction === false) {
      throw carillonError('CARILLON_TRANSACTION_FAILED', 'a statement has undone the transaction');
    }
  }

  commitTransaction(message: CommitMessage): CommitResult {
    const { database, commits } = this.opened();
    try {
      this.assertInTransaction();
      const result = commits.write(message);
      database.exec('COMMIT');
      this.noteWritten(message);
      return result;
    } catch (thrown) {
      const error = storageError(thrown, 'committing a transaction');
      if (error.code !== 'CARILLON_ENGINE_FAILED') this.undo();
      throw error;
    } finally {
      this.inTransaction = false;
    }
  }

  rollback(): null {
    this.inTransaction = false;
    this.undo();
    return null;
  }

  close(): null {
    // After a failure the database is left as it is: closing it would write.
    if (!this.failure) this.database?.close();
    this.database = null;
    this.lock?.release();
    return null;
  }
}

/** What is no matter of the storage is one of the statement: its syntax, its parameters, a constraint. */
function failedStatement(thrown: unknown): Error {
  const error = storageError(thrown, 'running a statement');
  if (error.code !== 'CARILLON_BUG') return error;
  return carillonError('CARILLON_TRANSACTION_FAILED', `the statement failed: ${(thrown as Error).message}`, {}, thrown);
}
