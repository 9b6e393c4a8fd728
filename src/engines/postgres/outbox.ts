import type { TransactionClient } from '../../core/index.ts';
import type { EventRow, Outbox } from '../../engine/log/index.ts';
import { callWithin } from '../../postgres/index.ts';
import { columnsOf, dedupeOf, hexOf, textOf } from './batch.ts';

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
    if (dueMs === null) return callWithin(tx, this.schema, 'enqueue', columnsOf(rows).values);
    for (const row of rows) {
      const { slot, id, source, type, subject, time, attributes } = row;
      const bytes = hexOf(row);
      await callWithin(tx, this.schema, 'enqueue_scheduled', [
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
}
