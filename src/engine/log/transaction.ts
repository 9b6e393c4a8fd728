import { carillonError, toError, type SqlValue } from '../../core/index.ts';
import type { AppendUnit, EngineTransaction } from '../engine.ts';
import type { StoreTransaction } from './store.ts';
import type { LogWriter } from './writer.ts';

/**
 * An interactive transaction around one attempt. States: `open` (the writer waits), `ended` (by commit or rollback;
 * the writer goes on). Only an open one takes statements; ending twice is refused.
 */
class LogTransaction implements EngineTransaction {
  readonly writer: LogWriter;
  readonly store: StoreTransaction;
  readonly acknowledgement: Acknowledgement;
  ended = false;
  failure: Error | null = null;

  constructor(writer: LogWriter, store: StoreTransaction, acknowledgement: Acknowledgement) {
    this.writer = writer;
    this.store = store;
    this.acknowledgement = acknowledgement;
  }

  async run(sql: string, parameters: readonly SqlValue[] = []): Promise<{ readonly changes: number }> {
    return this.statement(() => this.store.run(sql, parameters));
  }

  async all(sql: string, parameters: readonly SqlValue[] = []): Promise<readonly Readonly<Record<string, SqlValue>>[]> {
    return this.statement(() => this.store.all(sql, parameters));
  }

  /** A statement that failed fails the attempt, even when the handler makes nothing of it. */
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

  async rollback(): Promise<void> {
    if (this.ended) return;
    this.ended = true;
    try {
      await this.store.rollback();
    } finally {
      this.writer.resume();
    }
  }

  assertOpen(): void {
    if (this.ended) throw carillonError('CARILLON_LEASE_LOST', 'the transaction has ended with its attempt');
  }
}

/** What commits with the transaction: settles in memory when asked, and can take that back. */
export interface Acknowledgement {
  settle(): void;
  restore(): void;
}

/** Waits for the writer and begins. Commits of others wait until it ends, `limits.transactionMs` at most. */
export async function openTransaction(writer: LogWriter, acknowledgement: Acknowledgement): Promise<EngineTransaction> {
  if (!writer.store.capabilities.transactions) {
    throw carillonError(
      'CARILLON_UNSUPPORTED',
      `the ${writer.store.name} engine has no transactions to hand to a handler`,
      {
        capability: 'transactions',
      },
    );
  }
  await writer.pause();
  try {
    return new LogTransaction(writer, await writer.store.begin(writer.limits.transactionMs), acknowledgement);
  } catch (error) {
    writer.resume();
    throw error;
  }
}
