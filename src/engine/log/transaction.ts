import { carillonError, toError, type SqlValue } from '../../core/index.ts';
import type { AppendUnit, EngineTransaction } from '../engine.ts';
import type { StoreTransaction } from './store.ts';
import type { DeliveryRow } from './stored.ts';
import type { LogWriter } from './writer.ts';

/**
 * An interactive transaction around one attempt. States: `open`, `ended` (by commit or rollback). Only an open one takes
 * statements; ending twice is refused. A statement that failed fails the attempt, even when the handler makes nothing of it.
 */
abstract class LogTransaction implements EngineTransaction {
  readonly writer: LogWriter;
  readonly store: StoreTransaction;
  ended = false;
  failure: Error | null = null;

  constructor(writer: LogWriter, store: StoreTransaction) {
    this.writer = writer;
    this.store = store;
  }

  async run(sql: string, parameters: readonly SqlValue[] = []): Promise<{ readonly changes: number }> {
    return this.statement(() => this.store.run(sql, parameters));
  }

  async all(sql: string, parameters: readonly SqlValue[] = []): Promise<readonly Readonly<Record<string, SqlValue>>[]> {
    return this.statement(() => this.store.all(sql, parameters));
  }

  async statement<Result>(run: () => Promise<Result>): Promise<Result> {
    this.assertOpen();
    try {
      return await run();
    } catch (error) {
      this.failure ??= toError(error);
      throw error;
    }
  }

  async commit(units: readonly AppendUnit[]): Promise<void> {
    this.assertOpen();
    if (this.failure) {
      await this.rollback();
      throw this.failure;
    }
    this.ended = true;
    await this.commitAll(units);
  }

  abstract commitAll(units: readonly AppendUnit[]): Promise<void>;

  async rollback(): Promise<void> {
    if (this.ended) return;
    this.ended = true;
    await this.store.rollback();
  }

  assertOpen(): void {
    if (this.ended) throw carillonError('CARILLON_LEASE_LOST', 'the transaction has ended with its attempt');
  }
}

/** The only transaction there is: the writer waits for its end, and what has gathered is committed with it. */
class SoleTransaction extends LogTransaction {
  readonly acknowledgement: Acknowledgement;

  constructor(writer: LogWriter, store: StoreTransaction, acknowledgement: Acknowledgement) {
    super(writer, store);
    this.acknowledgement = acknowledgement;
  }

  override async commitAll(units: readonly AppendUnit[]): Promise<void> {
    this.acknowledgement.settle();
    try {
      await this.writer.commitInside(this.store, units);
    } catch (error) {
      this.acknowledgement.restore();
      throw error;
    } finally {
      this.writer.resume();
    }
  }

  override async rollback(): Promise<void> {
    if (this.ended) return;
    try {
      await super.rollback();
    } finally {
      this.writer.resume();
    }
  }
}

/**
 * One of several, beside the writer's commits. Those have the delivery as open until this one is committed, so it says
 * by a row of its own that it is acknowledged.
 */
class TransactionBeside extends LogTransaction {
  readonly acknowledgement: RowAcknowledgement;

  constructor(writer: LogWriter, store: StoreTransaction, acknowledgement: RowAcknowledgement) {
    super(writer, store);
    this.acknowledgement = acknowledgement;
  }

  override async commitAll(units: readonly AppendUnit[]): Promise<void> {
    await this.writer.commitBeside(this.store, units, this.acknowledgement.rows());
    this.acknowledgement.settle();
  }
}

/** What commits with the transaction: settles in memory when asked, and can take that back. */
export interface Acknowledgement {
  settle(): void;
  restore(): void;
}

/** Says by rows that deliveries are acknowledged, and settles them once those are durable. */
export interface RowAcknowledgement {
  rows(): readonly DeliveryRow[];
  settle(): void;
}

/** Begins a transaction of its own, `limits.transactionMs` long at most. */
export async function transactionBeside(
  writer: LogWriter,
  acknowledgement: RowAcknowledgement,
): Promise<EngineTransaction> {
  assertTransactions(writer);
  return new TransactionBeside(writer, await writer.store.begin(writer.limits.transactionMs), acknowledgement);
}

function assertTransactions({ store }: LogWriter): void {
  if (store.capabilities.transactions) return;
  throw carillonError('CARILLON_UNSUPPORTED', `the ${store.name} engine has no transactions to hand to a handler`, {
    capability: 'transactions',
  });
}

/** Waits for the writer and begins. Commits of others wait until it ends, `limits.transactionMs` at most. */
export async function openTransaction(writer: LogWriter, acknowledgement: Acknowledgement): Promise<EngineTransaction> {
  assertTransactions(writer);
  await writer.pause();
  try {
    return new SoleTransaction(writer, await writer.store.begin(writer.limits.transactionMs), acknowledgement);
  } catch (error) {
    writer.resume();
    throw error;
  }
}
