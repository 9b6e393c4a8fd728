import { carillonError, isCarillonError, type StartFrom } from '../../core/index.ts';
import type {
  CommitBatch,
  CommitResult,
  DeliveryQuery,
  DeliveryRow,
  HeldKeyCount,
  LogStore,
  Outbox,
  ScheduledRow,
  StoredSubscription,
  StoreHost,
  StoreOpened,
  StoreQuery,
  StoreRows,
  StoreTransaction,
} from '../../engine/log/index.ts';
import {
  assertOwnSession,
  connectorOf,
  quoteIdentifier,
  setUpSession,
  type Connection,
  type Connector,
  type Query,
} from '../../postgres/index.ts';
import { PostgresOutbox } from './outbox.ts';
import { commitResult, commitStatement, commitValues } from './batch.ts';
import type { ResolvedOptions } from './options.ts';
import { PostgresRetention } from './retention.ts';
import { deliveryColumns, deliveryOf, eventColumns, eventOf, stateNumbers, type Cells } from './rows.ts';
import { migrate } from './schema.ts';
import { isAway, Outage, Session, type OwnSessionParts, type Patience } from './session.ts';
import { PostgresSharing, type SharingHost } from './sharing.ts';
import { isUnfollowed, storeError } from './store-errors.ts';
import { Transactions, type TransactionHost } from './transaction.ts';

const COMMIT = commitStatement('commit');
/** What takes as long as the log is large. */
const LONG: Patience = {};
/** A lease may be too short for what takes its time, such as burying a member that hangs. */
const ANSWER_MIN_MS = 5000;

/**
 * The log in PostgreSQL, as one process sees it. Commits go over one connection, in the order of their calls, and the next
 * is sent before the one under way is answered; reads go over a second; a third keeps this process a member (sharing.ts);
 * handlers' transactions have connections of their own.
 *
 * A commit whose answer was lost may have been applied. It is simply made again, on a new connection and after the old
 * one is known to be at its end: events are found by their ids, rows and places are what they were to be.
 */
export class PostgresStore implements LogStore, SharingHost, TransactionHost {
  readonly name = 'postgres';
  readonly capabilities: LogStore['capabilities'] = { durable: true, transactions: true };
  readonly options: ResolvedOptions;
  /** A connection that does not answer for so long is taken for broken. */
  readonly answerMs: number;
  readonly connector: Connector;
  readonly sharing: PostgresSharing;
  readonly writer: Session;
  readonly reader: Session;
  readonly transactions: Transactions;
  readonly outbox: Outbox;
  readonly outage: Outage = new Outage((reason) => this.host?.onUnreachable(reason));
  host: StoreHost | null = null;
  retention: PostgresRetention | null = null;
  /** Of the connection that commits: see `next_epoch` in sql/0003.sql. */
  epoch = 0;
  /** The member whose epoch it is. */
  epochOf = 0;
  /** Commits sent on the connection that commits, and how many of them are known to have been applied. */
  sent = 0;
  applied = 0;
  /** Commits that have not ended, and the connection each was sent on; null when it waits for its turn. */
  readonly unended: Set<{ connection: Connection | null }> = new Set();
  commits: Promise<unknown> = Promise.resolve();
  failed: { readonly generation: number; readonly error: Error } | null = null;
  subjectsIndexed = false;

  constructor(options: ResolvedOptions) {
    this.options = options;
    this.answerMs = Math.max(options.leaseMs, ANSWER_MIN_MS);
    this.connector = connectorOf(options.database);
    this.writer = this.session({
      writes: true,
      prepare: (connection) => this.prepareToCommit(connection),
      options: { pipeline: true },
    });
    this.reader = this.session({ writes: false, prepare: () => Promise.resolve() });
    this.sharing = new PostgresSharing(this);
    this.transactions = new Transactions(this);
    this.outbox = new PostgresOutbox(options.schema);
  }

  /** Of commits. */
  get patience(): Patience {
    const { unreachableMs } = this.options;
    return { ms: unreachableMs, answerMs: unreachableMs };
  }

  /** Of what may have to wait for a member that hangs, until that is buried. */
  get behindOthers(): Patience {
    return { answerMs: 2 * this.answerMs };
  }

  get commitFunction(): string {
    return `${quoteIdentifier(this.options.schema, 'schema')}.commit`;
  }

  /** Wall time, by the clock of the bus. */
  readonly now = (): number => Math.floor(this.host?.clock.now() ?? Date.now());

  /** A session whose statements mean the engine's schema. */
  session(parts: OwnSessionParts): Session {
    const { connector, outage } = this;
    return new Session({
      ...parts,
      connector,
      outage,
      prepare: async (connection) => {
        await setUpSession(connection, this.options.schema);
        await parts.prepare(connection);
      },
    });
  }

  async open(host: StoreHost): Promise<StoreOpened> {
    this.host = host;
    const { schema, segmentEvents } = this.options;
    // The first connection tells at once what is wrong with the way to the database.
    const first = await this.connector.connect();
    try {
      await assertOwnSession(this.connector, first);
      await setUpSession(first, schema);
      await migrate(first, schema);
    } finally {
      await first.close();
    }
    const rows = await this.rows({
      text: `UPDATE settings SET segment_events = $1
             RETURNING (SELECT position FROM events ORDER BY position LIMIT 1),
                       (SELECT position FROM events ORDER BY position DESC LIMIT 1),
                       (SELECT last_value FROM moments),
                       (SELECT due FROM scheduled ORDER BY due, no LIMIT 1),
                       to_regclass('events_by_subject') IS NOT NULL`,
      values: [segmentEvents],
    });
    const [firstPosition, last, moment, due, indexed] = rows[0] as Cells;
    this.subjectsIndexed = indexed === true;
    if (this.options.retention) {
      this.retention = new PostgresRetention(
        { log: host.log, now: this.now, rows: (query) => this.rows(query, LONG) },
        this.options.retention,
      );
      this.retention.start();
    }
    return {
      first: Number(firstPosition ?? 0),
      last: Number(last ?? 0),
      lastRecordedMs: Number(moment),
      nextDueMs: due === null ? null : Number(due),
    };
  }

  /** Rows as arrays, however often the connection breaks. */
  async rows(query: Query, patience: Patience = this.behindOthers): Promise<readonly Cells[]> {
    try {
      const { rows } = await this.reader.run(
        (connection) => connection.query({ ...query, rowMode: 'array' }),
        patience,
      );
      return rows as unknown as readonly Cells[];
    } catch (error) {
      throw storeError(error);
    }
  }

  // Committing.

  async prepareToCommit(connection: Connection): Promise<void> {
    this.applied = 0;
    this.sent = 0;
    await this.takeEpoch(connection);
  }

  /** For each connection, and for each membership. */
  async takeEpoch(connection: Connection): Promise<void> {
    const { member } = this.sharing;
    if (member > 0) {
      try {
        const { rows } = await connection.query({ text: 'SELECT next_epoch($1) AS epoch', values: [member] });
        this.epoch = Number(rows[0]?.['epoch']);
      } catch (error) {
        // Dead to the others: a commit of leases will be refused, and any other one has none.
        if (!isCarillonError(storeError(error), 'CARILLON_LEASE_LOST')) throw error;
      }
    }
    this.epochOf = member;
  }

  commit(batch: CommitBatch): Promise<CommitResult> {
    const entry: { connection: Connection | null } = { connection: null };
    const ahead = this.commitAhead(batch, entry);
    // Seen to in its turn.
    ahead?.catch(() => undefined);
    this.unended.add(entry);
    const done = this.commits.then(() => this.commitInTurn(batch, ahead)).finally(() => this.unended.delete(entry));
    this.commits = done.catch(() => undefined);
    return done;
  }

  /** Sends a commit before those before it have ended, if all of them were sent on this connection; else null. */
  commitAhead(batch: CommitBatch, entry: { connection: Connection | null }): Promise<CommitResult> | null {
    const { connection } = this.writer;
    // With the first one the statement is prepared.
    if (this.applied === 0 || this.epochOf !== this.sharing.member || this.needsIndex(batch)) return null;
    for (const before of this.unended) if (before.connection !== connection) return null;
    return this.writer.send(async (open) => {
      entry.connection = open;
      try {
        return await this.call(batch, open, ++this.sent);
      } catch (error) {
        // None may be sent ahead of it any more.
        entry.connection = null;
        if (isAway(error)) this.writer.broke(open);
        throw error;
      }
    }, this.options.unreachableMs);
  }

  async call(batch: CommitBatch, connection: Connection, no: number): Promise<CommitResult> {
    const values = commitValues(batch, this.sharing.member, this.epoch, no);
    const { rows } = await connection.query({ name: 'commit', text: COMMIT, values });
    this.applied = no;
    return commitResult(batch, rows[0] as Readonly<Record<string, unknown>>);
  }

  async commitInTurn(batch: CommitBatch, ahead: Promise<CommitResult> | null): Promise<CommitResult> {
    try {
      const result = (await this.endOf(ahead)) ?? (await this.commitAlone(batch));
      this.sharing.committed(batch, result);
      return result;
    } catch (thrown) {
      const error = storeError(thrown);
      this.failed = { generation: batch.generation, error };
      throw error;
    }
  }

  /** Null when it is to be made, or made again: it was not sent, its connection broke, or the one before it was not applied. */
  async endOf(ahead: Promise<CommitResult> | null): Promise<CommitResult | null> {
    try {
      return await ahead;
    } catch (error) {
      if (isUnfollowed(error) || isAway(error)) return null;
      throw error;
    }
  }

  async commitAlone(batch: CommitBatch): Promise<CommitResult> {
    if (this.failed?.generation === batch.generation) throw this.failed.error;
    await this.indexSubjects(batch);
    return this.writer.run(async (connection) => {
      if (this.epochOf !== this.sharing.member) await this.takeEpoch(connection);
      this.sent = this.applied + 1;
      return this.call(batch, connection, this.sent);
    }, this.patience);
  }

  needsIndex({ units }: CommitBatch): boolean {
    return !this.subjectsIndexed && units.some((unit) => unit.expectedRevision !== undefined);
  }

  /** The index that revisions are found by, made when one is asked for the first time. */
  async indexSubjects(batch: CommitBatch): Promise<void> {
    if (!this.needsIndex(batch)) return;
    await this.rows(
      {
        text: `CREATE INDEX IF NOT EXISTS events_by_subject
             ON events (hashtextextended(subject, 0), position) WHERE subject IS NOT NULL`,
      },
      LONG,
    );
    this.subjectsIndexed = true;
  }

  // Reading.

  async read({ after, upTo, type, subject, slots, limit, scanMax }: StoreQuery): Promise<StoreRows> {
    if (type === undefined && subject === undefined && slots === undefined) {
      const most = Math.min(limit, scanMax);
      const rows = await this.rows({
        name: 'read',
        text: `SELECT ${eventColumns('e')} FROM events e WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3`,
        values: [after, upTo, most],
      });
      const events = rows.map((cells) => eventOf(cells));
      return { rows: events, scannedTo: rows.length < most ? upTo : (events.at(-1)?.position ?? upTo) };
    }
    // Positions have holes, so what is looked at is counted in events.
    const rows = await this.rows(
      {
        name: 'search',
        text: `WITH looked AS (
               SELECT position FROM events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3
             ), bound AS (
               SELECT CASE WHEN count(*) < $3 THEN $2::bigint ELSE max(position) END AS up_to FROM looked
             )
             SELECT b.up_to, ${eventColumns('e')} FROM bound b LEFT JOIN LATERAL (
               SELECT * FROM events WHERE position > $1 AND position <= b.up_to
                  AND ($4::text IS NULL OR type = $4) AND ($5::text IS NULL OR subject = $5)
                  AND ($6::smallint[] IS NULL OR slot = ANY ($6)) ORDER BY position LIMIT $7) AS e ON true`,
        values: [after, upTo, Math.min(scanMax, 1_000_000), type ?? null, subject ?? null, slots ?? null, limit],
      },
      LONG,
    );
    const events = rows.filter((cells) => cells[1] !== null).map((cells) => eventOf(cells, 1));
    const bound = Number(rows[0]?.[0]);
    return { rows: events, scannedTo: events.length < limit ? bound : (events.at(-1)?.position ?? bound) };
  }

  async positionAt(ms: number): Promise<number> {
    const rows = await this.rows({ text: 'SELECT position_at($1)', values: [Math.floor(ms)] });
    return Number(rows[0]?.[0]);
  }

  async openSubscription(name: string, from: StartFrom): Promise<StoredSubscription> {
    const position = typeof from === 'object' && 'position' in from ? from.position : from === 'beginning' ? 1 : null;
    const moment = typeof from === 'object' && 'timeMs' in from ? Math.floor(from.timeMs) : null;
    const rows = await this.rows({
      text: 'SELECT no, start FROM open_subscription($1, $2, $3)',
      values: [name, position, moment],
    });
    const [no, start] = rows[0] as Cells;
    return { no: no as number, start: Number(start), state: null };
  }

  async subscriptionNames(): Promise<readonly string[]> {
    const rows = await this.rows({ text: 'SELECT name FROM subscriptions ORDER BY no' });
    return rows.map(([name]) => name as string);
  }

  async readDeliveries(query: DeliveryQuery): Promise<readonly DeliveryRow[]> {
    const { subscription, subscriptionName, states, key, positions, slots, after, limit, withEvents } = query;
    const event = withEvents ? `, ${eventColumns('e')}` : '';
    const join = withEvents
      ? `LEFT JOIN LATERAL (
           SELECT * FROM events WHERE position = d.position
           UNION ALL SELECT * FROM kept_events WHERE position = d.position LIMIT 1) AS e ON true`
      : '';
    const rows = await this.rows({
      text: `SELECT ${deliveryColumns}, s.name ${event}
               FROM deliveries d JOIN subscriptions s ON s.no = d.subscription ${join}
              WHERE ($1::int IS NULL OR d.subscription = $1) AND ($2::text IS NULL OR s.name = $2)
                AND d.state = ANY ($3) AND ($4::text IS NULL OR (d.key_hash = hashtext($4) AND d.key = $4))
                AND ($5::bigint[] IS NULL OR d.position = ANY ($5)) AND ($6::smallint[] IS NULL OR d.slot = ANY ($6))
                AND d.position > $7 ORDER BY d.position, d.subscription LIMIT $8`,
      values: [
        subscription ?? null,
        subscriptionName ?? null,
        states.map((state) => stateNumbers[state]),
        key ?? null,
        positions ?? null,
        slots ?? null,
        positions ? 0 : (after ?? 0),
        limit,
      ],
    });
    return rows.map(deliveryOf);
  }

  /** Shared logs ask for those of their slots: see {@link PostgresSharing.remains}. */
  heldKeys(): Promise<readonly HeldKeyCount[]> {
    throw carillonError('CARILLON_BUG', 'held keys of a shared log are asked for by slot');
  }

  async deliveryCounts(subscription: number): Promise<{ readonly held: number; readonly dead: number }> {
    const rows = await this.rows({
      text: `SELECT count(*) FILTER (WHERE state = 2), count(*) FILTER (WHERE state = 3)
               FROM deliveries WHERE subscription = $1 AND state IN (2, 3)`,
      values: [subscription],
    });
    const [held, dead] = rows[0] as Cells;
    return { held: Number(held), dead: Number(dead) };
  }

  async readDue(
    ms: number,
    limit: number,
  ): Promise<{ readonly due: readonly ScheduledRow[]; readonly nextMs: number | null }> {
    const rows = await this.rows({
      text: `SELECT s.no, s.due, NULL, NULL, s.slot, s.id, s.source, s.type, s.subject, s.time, s.attributes, s.data,
                    s.bytes, NULL
               FROM scheduled s ORDER BY s.due, s.no LIMIT $1`,
      values: [limit + 1],
    });
    const all = rows.map((cells) => ({ no: Number(cells[0]), dueMs: Number(cells[1]), event: eventOf(cells, 2) }));
    const due = all.filter(({ dueMs }) => dueMs <= ms).slice(0, limit);
    return { due, nextMs: all[due.length]?.dueMs ?? null };
  }

  // Transactions and the end.

  begin(timeoutMs: number): Promise<StoreTransaction> {
    return this.transactions.begin(timeoutMs);
  }

  /** What keeps one connection from answering will keep the others. */
  silent(): void {
    this.writer.drop();
    this.reader.drop();
    this.transactions.dropIdle();
  }

  prepareToClose(): void {
    for (const session of [this.writer, this.reader, this.sharing.session]) {
      session.endWithin(this.options.unreachableMs);
    }
  }

  async close(): Promise<void> {
    await this.retention?.stop();
    await Promise.all([this.writer.close(), this.reader.close(), this.sharing.close(), this.transactions.close()]);
  }

  /** As the end of the process, for tests: connections are cut, and nobody is told. */
  kill(): void {
    void this.retention?.stop();
    for (const part of [this.writer, this.reader, this.sharing, this.transactions]) part.kill();
  }
}
