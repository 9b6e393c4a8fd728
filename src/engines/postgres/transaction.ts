import {
  carillonError,
  isCarillonError,
  systemClock,
  type Clock,
  type SqlValue,
  type Timer,
} from '../../core/index.ts';
import type { CommitBatch, CommitResult, StoreTransaction } from '../../engine/log/index.ts';
import type { Connection, Connector, Query, QueryAnswer } from '../../postgres/index.ts';
import { commitResult, commitStatement, commitValues } from './batch.ts';
import type { ResolvedOptions } from './options.ts';
import { stateNumbers, type Cells } from './rows.ts';
import { END_EARLIER, isAway } from './session.ts';
import { assertStatementAllowed, parametersOf } from './statements.ts';
import { statementError, storeError } from './store-errors.ts';

/** What transactions need of the store around them. */
export interface TransactionHost {
  readonly options: ResolvedOptions;
  readonly connector: Connector;
  readonly host: { readonly clock: Clock } | null;
  readonly sharing: {
    readonly member: number;
    committed(batch: CommitBatch, result: CommitResult): void;
  };
  /** The function `commit`, with its schema: a handler's statements mean the schemas of the application. */
  readonly commitFunction: string;
  rows(query: Query): Promise<readonly Cells[]>;
}

const RETRY_MS = 100;
/**
 * With its commit written and not yet told to end, a transaction keeps everybody from appending. A process that hangs just
 * then loses it after this long, not with its lease only.
 */
const ALSO = `pg_current_xact_id()::text AS id, set_config('idle_in_transaction_session_timeout', '2s', true), `;

/**
 * Handlers' transactions: each has a connection of its own while it lasts, `transactionsMax` of them at once; who comes
 * later waits.
 */
export class Transactions {
  readonly store: TransactionHost;
  readonly idle: Connection[] = [];
  readonly busy: Set<Connection> = new Set();
  readonly waiting: (() => void)[] = [];
  opening = 0;
  closed = false;

  constructor(store: TransactionHost) {
    this.store = store;
  }

  /** Waits for a database that cannot be used, for as long as the transaction might last. */
  async begin(timeoutMs: number): Promise<StoreTransaction> {
    const endsAt = systemClock.monotonic() + timeoutMs;
    for (;;) {
      try {
        return await this.tryToBegin(timeoutMs);
      } catch (error) {
        if (!isAway(error)) throw error;
        if (this.closed || systemClock.monotonic() > endsAt) throw error;
        await new Promise<void>((resolve) => systemClock.setTimer(RETRY_MS, resolve));
      }
    }
  }

  async tryToBegin(timeoutMs: number): Promise<StoreTransaction> {
    const connection = await this.take();
    const timer = systemClock.setTimer(timeoutMs, () => this.discard(connection));
    try {
      // Each statement is to see what was committed before it, whatever the user's default is.
      const answers = await connection.query('BEGIN ISOLATION LEVEL READ COMMITTED; SHOW transaction_read_only');
      const [, shown] = answers as unknown as readonly QueryAnswer[];
      // Said now, not by the first statement that writes: then it would be the handler's attempt that fails.
      if (shown?.rows[0]?.['transaction_read_only'] === 'on') throw readOnly(this.store.connector.label);
      return new PostgresTransaction(this, connection, timeoutMs);
    } catch (error) {
      this.discard(connection);
      throw error;
    } finally {
      timer.cancel();
    }
  }

  async take(): Promise<Connection> {
    while (this.busy.size + this.opening >= this.store.options.transactionsMax) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    const idle = this.idle.pop();
    if (idle) {
      this.busy.add(idle);
      return idle;
    }
    this.opening++;
    try {
      const connection = await this.store.connector.connect();
      void connection.broken.then(() => this.forget(connection));
      this.busy.add(connection);
      return connection;
    } catch (error) {
      this.next();
      throw error;
    } finally {
      this.opening--;
    }
  }

  /** It is free for the next transaction. */
  give(connection: Connection): void {
    if (!this.busy.delete(connection)) return;
    if (this.closed) void connection.close();
    else this.idle.push(connection);
    this.next();
  }

  /** Nobody knows what state it is in. */
  discard(connection: Connection): void {
    this.giveUp(connection);
    this.forget(connection);
  }

  /** The server may not notice for long: meanwhile a statement would run on, and locks be held. */
  giveUp(connection: Connection): void {
    connection.abort();
    if (this.closed || connection.processId === null) return;
    // A help, not a promise: the server notices in the end.
    this.store.rows({ text: END_EARLIER, values: [connection.processId] }).catch(() => undefined);
  }

  forget(connection: Connection): void {
    const at = this.idle.indexOf(connection);
    if (at !== -1) this.idle.splice(at, 1);
    if (this.busy.delete(connection)) this.next();
  }

  /** Those in use have their own time. */
  dropIdle(): void {
    for (const connection of this.idle.splice(0)) this.giveUp(connection);
  }

  next(): void {
    this.waiting.shift()?.();
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.idle.splice(0).map((connection) => connection.close()));
  }

  kill(): void {
    for (const connection of [...this.busy, ...this.idle]) connection.abort();
  }
}

/**
 * One transaction. States: `open` → `committed` | `rolled-back`, past its time by itself. When the answer to COMMIT is
 * lost, the server is asked what became of it.
 */
class PostgresTransaction implements StoreTransaction {
  readonly pool: Transactions;
  readonly store: TransactionHost;
  readonly connection: Connection;
  readonly timeoutMs: number;
  readonly timer: Timer | undefined;
  timedOut = false;

  constructor(pool: Transactions, connection: Connection, timeoutMs: number) {
    this.pool = pool;
    this.store = pool.store;
    this.connection = connection;
    this.timeoutMs = timeoutMs;
    this.timer = pool.store.host?.clock.setTimer(timeoutMs, () => {
      this.timedOut = true;
      // Whatever statement is running goes with it.
      pool.discard(connection);
    });
  }

  assertInTime(): void {
    if (!this.timedOut) return;
    throw carillonError('CARILLON_TRANSACTION_TIMEOUT', `the transaction took longer than ${this.timeoutMs} ms`, {
      limit: 'transactionMs',
    });
  }

  async statement(sql: string, parameters: readonly SqlValue[]): Promise<Awaited<ReturnType<Connection['query']>>> {
    this.assertInTime();
    assertStatementAllowed(sql, this.store.options.schema);
    try {
      return await this.connection.query({ text: sql, values: parametersOf(parameters), queryMode: 'extended' });
    } catch (error) {
      this.assertInTime();
      throw statementError(error);
    }
  }

  async run(sql: string, parameters: readonly SqlValue[]): Promise<{ readonly changes: number }> {
    const { rowCount } = await this.statement(sql, parameters);
    return { changes: rowCount ?? 0 };
  }

  async all(sql: string, parameters: readonly SqlValue[]): Promise<readonly Readonly<Record<string, SqlValue>>[]> {
    const { rows } = await this.statement(sql, parameters);
    return rows as readonly Readonly<Record<string, SqlValue>>[];
  }

  async commit(batch: CommitBatch): Promise<CommitResult> {
    this.assertInTime();
    const { result, id } = await this.write(batch);
    try {
      await this.connection.query('COMMIT');
    } catch (error) {
      this.pool.discard(this.connection);
      if (!isCarillonError(error, 'CARILLON_DATABASE_UNREACHABLE')) throw storeError(error);
      if (!(await this.wasCommitted(batch, id))) throw error;
    } finally {
      this.timer?.cancel();
    }
    this.pool.give(this.connection);
    this.store.sharing.committed(batch, result);
    return result;
  }

  async write(batch: CommitBatch): Promise<{ readonly result: CommitResult; readonly id: string }> {
    try {
      const values = commitValues(batch, this.store.sharing.member, null, null);
      const text = commitStatement(this.store.commitFunction, ALSO);
      const { rows } = await this.connection.query({ text, values });
      const row = rows[0] as Readonly<Record<string, unknown>>;
      return { result: commitResult(batch, row), id: row['id'] as string };
    } catch (error) {
      await this.rollback();
      this.assertInTime();
      throw storeError(error);
    }
  }

  /**
   * What became of it, when nobody has said. Its number alone does not tell: a server that crashed hands out the same again,
   * when nothing of the first transaction had come to its disk. So what it wrote has to be there.
   */
  async wasCommitted({ put }: CommitBatch, id: string): Promise<boolean> {
    for (;;) {
      const rows = await this.store.rows({ text: 'SELECT pg_xact_status($1::xid8)', values: [id] });
      const status = rows[0]?.[0];
      if (status === 'aborted') return false;
      if (status !== 'in progress') break;
      // Its session has not noticed yet that nobody listens.
      await this.store.rows({ text: END_EARLIER, values: [this.connection.processId] });
    }
    const [acknowledgement] = put;
    if (!acknowledgement) throw carillonError('CARILLON_BUG', 'a transaction without an acknowledgement');
    const { subscription, position, state } = acknowledgement;
    const rows = await this.store.rows({
      text: 'SELECT FROM deliveries WHERE subscription = $1 AND position = $2 AND state = $3',
      values: [subscription, position, stateNumbers[state]],
    });
    return rows.length > 0;
  }

  async rollback(): Promise<void> {
    this.timer?.cancel();
    if (this.timedOut) return;
    try {
      await this.connection.query('ROLLBACK');
      this.pool.give(this.connection);
    } catch {
      // Broken: the server rolls back by itself.
      this.pool.discard(this.connection);
    }
  }
}

const readOnly = (label: string): Error =>
  carillonError('CARILLON_DATABASE_READ_ONLY', `${label}: transactions are read-only`, { database: label });
