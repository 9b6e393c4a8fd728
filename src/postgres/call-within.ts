import { carillonError, toError, type TransactionClient } from '../core/index.ts';
import { sqlStateOf } from './database-errors.ts';
import { quoteIdentifier } from './identifiers.ts';

/** No function, no schema, no table of that name. */
const MISSING: ReadonlySet<string> = new Set(['42883', '3F000', '42P01']);

/**
 * Calls a function of the schema within a transaction of the application's own. Fails with `CARILLON_OPTION_INVALID` when
 * that is one of a database without the function, and with `CARILLON_TRANSACTION_FAILED` for what else the database says.
 */
export async function callWithin(
  tx: TransactionClient,
  schema: string,
  name: string,
  values: readonly unknown[],
): Promise<void> {
  const parameters = values.map((_, index) => `$${index + 1}`).join(', ');
  const text = `SELECT ${quoteIdentifier(schema, 'schema')}.${name}(${parameters})`;
  try {
    await tx.query(text, [...values]);
  } catch (thrown) {
    const error = toError(thrown);
    const sqlState = sqlStateOf(thrown);
    if (sqlState === undefined) throw error;
    if (MISSING.has(sqlState)) {
      const message = `the transaction is not one of a database with the schema ${schema}: ${error.message}`;
      throw carillonError('CARILLON_OPTION_INVALID', message, { option: 'tx', sqlState }, error);
    }
    const message = `the event could not be added to the transaction: ${error.message}`;
    throw carillonError('CARILLON_TRANSACTION_FAILED', message, { sqlState }, error);
  }
}
