import { carillonError, systemClock } from '../core/index.ts';
import type { Connection, Connector } from './connection.ts';
import { quoteIdentifier } from './identifiers.ts';

/** Other transactions that are begun beside: a pooler gives them its idle sessions, the last one used first. */
const OTHERS = 3;
/** A pooler without a session to spare lets us wait. */
const ANSWER_MS = 10_000;

/**
 * Whether statements on one connection all go to one session of the server. A pooler may give each transaction another one
 * (PgBouncer's `pool_mode = transaction`); then locks, settings and listening are lost without a word.
 *
 * That there is a pooler shows in the process that the login has named: it is not the one that answers. Then transactions
 * are begun on other connections, and the session of this one must stay its own.
 *
 * Fails with `CARILLON_DATABASE_POOLED`; with `CARILLON_DATABASE_UNREACHABLE` when there are no sessions to spare.
 * @param connection idle, one of the connector's; broken when this fails
 */
export async function assertOwnSession(connector: Connector, connection: Connection): Promise<void> {
  const own = await processOf(connection);
  if (own === connection.processId) return;
  const others: Connection[] = [];
  const timer = systemClock.setTimer(ANSWER_MS, () => [connection, ...others].forEach((one) => one.abort()));
  try {
    while (others.length < OTHERS) {
      const other = await connector.connect();
      others.push(other);
      await other.query('BEGIN');
      await processOf(other);
      if ((await processOf(connection)) !== own) throw pooled(connector.label);
    }
  } finally {
    timer.cancel();
    await Promise.allSettled(others.map((other) => other.close()));
  }
}

/**
 * Makes a session one of ours, whatever is set for its user or its database: statements mean this schema, take the time they
 * need, and see what was committed while they waited for a lock, which they do not under any other isolation.
 */
export async function setUpSession(connection: Connection, schema: string): Promise<void> {
  await connection.query(
    `SET search_path = ${quoteIdentifier(schema, 'schema')}, public; SET statement_timeout = 0; SET lock_timeout = 0;
     SET default_transaction_isolation = 'read committed'`,
  );
}

async function processOf(connection: Connection): Promise<number> {
  const { rows } = await connection.query('SELECT pg_backend_pid() AS pid');
  return rows[0]?.['pid'] as number;
}

const pooled = (label: string): Error =>
  carillonError('CARILLON_DATABASE_POOLED', `${label}: a pooler gives each transaction another session of the server`, {
    database: label,
  });
