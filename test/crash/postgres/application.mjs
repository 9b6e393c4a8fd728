import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { mixed } from '../random.mjs';

const CLIENTS = 6;
const CONNECT_WITHIN_MS = 5_000;
/** A connection that is silent is given up. */
const ANSWERED_WITHIN_MS = 10_000;
/** Most transactions are short. Some last, so that others begin and commit while their events are invisible. */
const HOLD_MS = 12;
const LONG_HOLD_MS = 250;

/** The application around the bus: it publishes within its own transactions, beside rows of its own. */
export class Application {
  constructor({ url, poolMax }) {
    const settings = { connectionString: url, application_name: 'crash application' };
    /** Whether the engine takes its connections from this pool too. */
    this.shared = poolMax !== undefined;
    const patience = this.shared ? {} : { query_timeout: ANSWERED_WITHIN_MS };
    const connectionTimeoutMillis = CONNECT_WITHIN_MS;
    this.pool = poolOf({ ...settings, ...patience, max: poolMax ?? CLIENTS, connectionTimeoutMillis });
  }

  /**
   * Runs `publish` in a transaction that writes an order for each event too, and commits it or rolls it back. Rejects when
   * that did not go through, and then it may have been committed all the same.
   */
  async within({ events, rollsBack }, publish) {
    const client = await this.pool.connect();
    let broken;
    try {
      await client.query('BEGIN');
      for (const { id } of events) {
        await client.query('INSERT INTO crash_orders (event) VALUES ($1) ON CONFLICT DO NOTHING', [id]);
      }
      await publish(client);
      const { lot } = events[0];
      await sleep(lot % 8 === 0 ? mixed(lot, 4000) % LONG_HOLD_MS : mixed(lot, 4000) % HOLD_MS);
      const { command } = await client.query(rollsBack ? 'ROLLBACK' : 'COMMIT');
      if (!rollsBack && command !== 'COMMIT') throw new Error(`COMMIT was answered by ${command}`);
    } catch (error) {
      broken = error;
      throw error;
    } finally {
      client.release(broken);
    }
  }

  /** Resolves once no other process is a member any more, and this one has all there is. */
  async alone(withinMs) {
    const endsAt = Date.now() + withinMs;
    while (!(await this.isAlone())) {
      if (Date.now() > endsAt) return false;
      await sleep(50);
    }
    return true;
  }

  async isAlone() {
    const { rows } = await this.pool.query(
      `SELECT (SELECT count(*) FROM carillon.members) = 1
          AND NOT EXISTS (SELECT FROM carillon.runners r JOIN carillon.shares s USING (subscription)
                           WHERE s.owner IS DISTINCT FROM r.member) AS alone`,
    );
    return rows[0].alone;
  }

  async orders() {
    const { rows } = await this.pool.query('SELECT event FROM crash_orders');
    return rows.map(({ event }) => event);
  }

  /** Takes every client the pool can give for a while: whoever else needs one waits. */
  async hog(ms) {
    const { max } = this.pool.options;
    const taken = Array.from({ length: max }, () => this.pool.connect().catch(() => null));
    await sleep(ms);
    for (const client of await Promise.all(taken)) client?.release();
  }
}

function poolOf(settings) {
  const pool = new pg.Pool(settings);
  // Told by the query that meets it; without listeners it would end the process.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}
