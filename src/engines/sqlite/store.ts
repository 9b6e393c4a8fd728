import { Worker } from 'node:worker_threads';
import { carillonError, isCarillonError, type SqlValue, type StartFrom } from '../../core/index.ts';

import type {
  CommitBatch,
  CommitResult,
  DeliveryQuery,
  DeliveryRow,
  LogStore,
  ScheduledRow,
  StoredSubscription,
  StoreHost,
  StoreOpened,
  StoreQuery,
  StoreRows,
  StoreTransaction,
} from '../../engine/log/index.ts';
import { CELLS_PER_EVENT, type AnswerMessage, type Calls, type Cell, type CommitMessage } from './messages.ts';
import type { SqliteOptions } from './options.ts';
import type { PlainError } from './sqlite-errors.ts';
import { workerUrl } from './worker-url.ts';

interface Pending {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The SQLite store as the event loop sees it: every call is a message to the thread that owns the database.
 * States: `new` → `open` → `closed`; `failed` when the thread says so or ends by itself.
 */
export class SqliteStore implements LogStore {
  readonly name = 'sqlite';
  readonly capabilities: LogStore['capabilities'] = { durable: true, transactions: true };
  readonly sharing = null;
  readonly outbox = null;
  readonly options: SqliteOptions;
  readonly pending: Map<number, Pending> = new Map();
  worker: Worker | null = null;
  host: StoreHost | null = null;
  calls = 0;
  closing = false;
  failure: Error | null = null;

  constructor(options: SqliteOptions) {
    this.options = options;
  }

  async open(host: StoreHost): Promise<StoreOpened> {
    this.host = host;
    const worker = new Worker(workerUrl());
    this.worker = worker;
    worker.on('message', (message: AnswerMessage) => this.answered(message));
    worker.on('error', (error) =>
      this.fail(carillonError('CARILLON_ENGINE_FAILED', `the storage thread ended: ${error.message}`, {}, error)),
    );
    worker.on('exit', (code) => {
      if (!this.closing)
        this.fail(carillonError('CARILLON_ENGINE_FAILED', `the storage thread ended with code ${code}`));
    });
    try {
      return await this.call('open', this.options);
    } catch (error) {
      this.closing = true;
      await worker.terminate();
      throw error;
    }
  }

  call<Name extends keyof Calls>(name: Name, ask: Calls[Name]['ask']): Promise<Calls[Name]['answer']> {
    const { worker } = this;
    if (this.failure || !worker || this.closing) {
      return Promise.reject(this.failure ?? carillonError('CARILLON_STOPPED', 'the sqlite engine is not open'));
    }
    const no = ++this.calls;
    return new Promise((resolve, reject) => {
      this.pending.set(no, { resolve, reject });
      worker.postMessage({ no, name, ask });
    });
  }

  answered(message: AnswerMessage): void {
    const pending = this.pending.get(message.no);
    this.pending.delete(message.no);
    if (!pending) return;
    if ('error' in message) pending.reject(this.errorOf(message.error));
    else pending.resolve(message.answer as never);
  }

  errorOf({ code, message, details }: PlainError): Error {
    const error = carillonError(code, message, details);
    const fatal = code === 'CARILLON_ENGINE_FAILED' || code === 'CARILLON_STORAGE_CORRUPT';
    if (fatal && this.host && !this.closing) this.fail(error);
    return error;
  }

  fail(error: Error): void {
    if (this.failure) return;
    this.failure = isCarillonError(error, 'CARILLON_ENGINE_FAILED')
      ? error
      : carillonError('CARILLON_ENGINE_FAILED', error.message, {}, error);
    for (const pending of this.pending.values()) pending.reject(this.failure);
    this.pending.clear();
    this.host?.onFailure(this.failure);
  }

  commit(batch: CommitBatch): Promise<CommitResult> {
    return this.call('commit', commitMessage(batch, true));
  }

  read(query: StoreQuery): Promise<StoreRows> {
    return this.call('read', query);
  }

  positionAt(ms: number): Promise<number> {
    return this.call('positionAt', ms);
  }

  openSubscription(name: string, from: StartFrom): Promise<StoredSubscription> {
    return this.call('openSubscription', { name, from });
  }

  subscriptionNames(): Promise<readonly string[]> {
    return this.call('subscriptionNames', null);
  }

  readDeliveries(query: DeliveryQuery): Promise<readonly DeliveryRow[]> {
    return this.call('readDeliveries', query);
  }

  heldKeys(subscription: number): Promise<Calls['heldKeys']['answer']> {
    return this.call('heldKeys', subscription);
  }

  deliveryCounts(subscription: number): Promise<{ readonly held: number; readonly dead: number }> {
    return this.call('deliveryCounts', subscription);
  }

  readDue(
    ms: number,
    limit: number,
  ): Promise<{ readonly due: readonly ScheduledRow[]; readonly nextMs: number | null }> {
    return this.call('readDue', { ms, limit });
  }

  async begin(timeoutMs: number): Promise<StoreTransaction> {
    await this.call('begin', null);
    return new SqliteTransaction(this, timeoutMs);
  }

  async close(): Promise<void> {
    if (this.closing || !this.worker) return;
    try {
      if (!this.failure) await this.call('close', null);
    } finally {
      this.closing = true;
      await this.worker.terminate();
    }
  }
}

/** The thread's transaction. Past its time it is rolled back, and whatever follows is refused. */
class SqliteTransaction implements StoreTransaction {
  readonly store: SqliteStore;
  readonly timer: { cancel(): void } | undefined;
  readonly timeoutMs: number;
  timedOut = false;

  constructor(store: SqliteStore, timeoutMs: number) {
    this.store = store;
    this.timeoutMs = timeoutMs;
    this.timer = store.host?.clock.setTimer(timeoutMs, () => {
      this.timedOut = true;
      // Its failure is the store's, which tells everybody.
      this.store.call('rollback', null).catch(() => undefined);
    });
  }

  assertInTime(): void {
    if (!this.timedOut) return;
    throw carillonError('CARILLON_TRANSACTION_TIMEOUT', `the transaction took longer than ${this.timeoutMs} ms`, {
      limit: 'transactionMs',
    });
  }

  async run(sql: string, parameters: readonly SqlValue[]): Promise<{ readonly changes: number }> {
    this.assertInTime();
    return this.store.call('run', { sql, parameters });
  }

  async all(sql: string, parameters: readonly SqlValue[]): Promise<readonly Readonly<Record<string, SqlValue>>[]> {
    this.assertInTime();
    return this.store.call('all', { sql, parameters });
  }

  async commit(batch: CommitBatch): Promise<CommitResult> {
    this.assertInTime();
    this.timer?.cancel();
    return this.store.call('commitTransaction', commitMessage(batch, false));
  }

  async rollback(): Promise<void> {
    this.timer?.cancel();
    if (!this.timedOut) await this.store.call('rollback', null);
  }
}

function commitMessage(batch: CommitBatch, plainMayBeRefused: boolean): CommitMessage {
  const { units, generation, recordedMs, states, put, remove, schedule, unschedule } = batch;
  const cells: Cell[] = [];
  let plain = true;
  for (const unit of units) {
    for (const { id, source, type, subject, time, attributes, data } of unit.rows) {
      cells.push(id, source, type, subject, time, attributes, data);
    }
    if (unit.expectedRevision !== undefined || unit.scheduled !== undefined) plain = false;
  }
  const shapes = plain
    ? null
    : units.map(({ rows, expectedRevision, subject, scheduled }) => ({
        events: rows.length,
        expectedRevision,
        subject,
        scheduled,
      }));
  const mayRefuse = plainMayBeRefused && cells.length > 0 && batch.joined * CELLS_PER_EVENT < cells.length;
  return { generation, recordedMs, cells, units: shapes, states, put, remove, schedule, unschedule, mayRefuse };
}
