import { carillonError, toError, type TransactionClient } from '../../core/index.ts';
import type { EventRow, Outbox } from '../../engine/log/index.ts';
import { quoteIdentifier, sqlStateOf } from '../../postgres/index.ts';
import { columnsOf, dedupeOf, hexOf, textOf } from './batch.ts';

/** No function, no schema, no table of that name. */
const MISSING: ReadonlySet<string> = new Set(['42883', '3F000', '42P01']);

/**
 * Events of an application's own transactions: rows of the table `incoming` until they commit. Takes no lock, so that
 * transactions do not wait for each other.
 */
export class PostgresOutbox implements Outbox {
  readonly schema: string;

  constructor(schema: string) {
    this.schema = schema;
  }

  async append(tx: TransactionClient, rows: readonly EventRow[], dueMs: number | null): Promise<void> {
    if (rows.length === 0) return;
    if (dueMs === null) return this.call(tx, 'enqueue', columnsOf(rows).values);
    for (const row of rows) {
      const { slot, id, source, type, subject, time, attributes } = row;
      const bytes = hexOf(row);
      await this.call(tx, 'enqueue_scheduled', [
        dueMs,
        dedupeOf(row),
        slot,
        id,
        source,
        type,
        subject,
        time,
        attributes,
        textOf(row),
        bytes === null ? null : Buffer.from(bytes, 'hex'),
      ]);
    }
  }

  async call(tx: TransactionClient, name: string, values: readonly unknown[]): Promise<void> {
    const parameters = values.map((_, index) => `$${index + 1}`).join(', ');
    const text = `SELECT ${quoteIdentifier(this.schema, 'schema')}.${name}(${parameters})`;
    try {
      await tx.query(text, [...values]);
    } catch (thrown) {
      const error = toError(thrown);
      const sqlState = sqlStateOf(thrown);
      if (sqlState === undefined) throw error;
      if (MISSING.has(sqlState)) {
        const message = `the transaction is not one of the bus's own database: ${error.message}`;
        throw carillonError('CARILLON_OPTION_INVALID', message, { option: 'tx', sqlState }, error);
      }
      const message = `the event could not be added to the transaction: ${error.message}`;
      throw carillonError('CARILLON_TRANSACTION_FAILED', message, { sqlState }, error);
    }
  }
}
