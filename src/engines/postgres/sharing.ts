import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { carillonError, systemClock, type Clock } from '../../core/index.ts';
import {
  isPassing,
  type Answer,
  type CommitBatch,
  type CommitResult,
  type DeadChange,
  type HeldKeyCount,
  type Remains,
  type RowChange,
  type Sharing,
  type Sight,
  type StoredShare,
  type Wake,
} from '../../engine/log/index.ts';
import { IDENTIFIER_BYTES_MAX, type Connection, type Query, type QueryAnswer } from '../../postgres/index.ts';
import type { ResolvedOptions } from './options.ts';
import { deliveryColumns, deliveryOf, type Cells } from './rows.ts';
import type { OwnSessionParts, Patience, Session } from './session.ts';
import { storeError } from './store-errors.ts';

/** What membership needs of the store around it. */
export interface SharingHost {
  readonly options: ResolvedOptions;
  readonly answerMs: number;
  readonly behindOthers: Patience;
  readonly reader: Session;
  readonly now: () => number;
  rows(query: Query, patience?: Patience): Promise<readonly Cells[]>;
  session(parts: OwnSessionParts): Session;
  /** This member's connection has not answered. */
  silent(): void;
}

/** A session's lock must be free for this long before its member is taken for dead: its process may be coming back. */
const GRACE_MS = 1500;
/** Notifications of one kind, from this process, are at least so far apart. */
const NOTIFY_EVERY_MS = 2;
const WAKES: ReadonlySet<string> = new Set<Wake>(['log', 'members', 'changes', 'answers']);

/** A channel's name is an identifier, so a schema's may leave it no room for more. */
function channelOf(schema: string): string {
  const channel = `carillon ${schema}`;
  if (Buffer.byteLength(channel) <= IDENTIFIER_BYTES_MAX) return channel;
  return `carillon ${createHash('sha256').update(schema).digest('hex').slice(0, 32)}`;
}

/**
 * This process among those that share the log. A session of its own holds a lock for as long as it lives, so that the
 * others see at once when the process is gone, and listens to what they say. Whatever is said may be lost: it is a hint,
 * and looked for all the same (`lookMs`).
 */
export class PostgresSharing implements Sharing {
  readonly host: SharingHost;
  readonly leaseMs: number;
  readonly lookMs: number;
  readonly clock: Clock = systemClock;
  readonly session: Session;
  /** A member that could not write for a while is still one: nothing is given up for a full disk or a deadlock. */
  readonly patience: Patience;
  readonly longPatience: Patience;
  readonly channel: string;
  member = 0;
  asker = 0;
  /** Members there are, as of the last look. */
  members = 1;
  listener: (wake: Wake) => void = () => undefined;
  /** Since when a member's lock has been seen to be free. */
  readonly freeSince: Map<number, number> = new Map();
  readonly notified: Map<Wake, { at: number; pending: boolean }> = new Map();

  constructor(host: SharingHost) {
    this.host = host;
    this.leaseMs = host.options.leaseMs;
    this.patience = { answerMs: host.answerMs, waitsOut: isPassing };
    this.longPatience = { ...host.behindOthers, waitsOut: isPassing };
    this.lookMs = host.options.lookMs;
    this.channel = channelOf(host.options.schema);
    this.session = host.session({
      writes: true,
      prepare: (connection) => this.prepare(connection),
      // What was said meanwhile was not heard.
      onBroken: () => this.hear('log'),
      onSilent: () => host.silent(),
    });
  }

  async prepare(connection: Connection): Promise<void> {
    connection.onNotification((_channel, payload) => this.heard(payload));
    await connection.query(`LISTEN "${this.channel.replaceAll('"', '""')}"`);
    if (this.member > 0) await this.holdLock(connection);
  }

  /** Held by the session: free once it has ended. An earlier session of this member may not have noticed its end yet. */
  async holdLock(connection: Connection): Promise<void> {
    await connection.query({ text: 'SELECT pg_advisory_lock(member_class(), $1)', values: [this.member] });
  }

  heard(payload: string): void {
    const [what = '', from = ''] = payload.split(' ');
    if (from !== String(this.member) && WAKES.has(what)) this.hear(what as Wake);
  }

  hear(wake: Wake): void {
    this.listener(wake);
  }

  onWake(listener: (wake: Wake) => void): void {
    this.listener = listener;
  }

  /** Tells the others, if there are any: at once, or together with what is said in the next 2 ms. */
  tell(wake: Wake): void {
    if (this.members < 2 && wake === 'log') return;
    const told = this.notified.get(wake) ?? { at: -Infinity, pending: false };
    this.notified.set(wake, told);
    if (told.pending) return;
    const waitMs = told.at + NOTIFY_EVERY_MS - this.clock.monotonic();
    const send = (): void => {
      told.at = this.clock.monotonic();
      told.pending = false;
      const query = {
        name: 'notify',
        text: 'SELECT pg_notify($1, $2)',
        values: [this.channel, `${wake} ${this.member}`],
      };
      // A hint: what it was about is found without it.
      this.host.rows(query).catch(() => undefined);
    };
    if (waitMs <= 0) return send();
    told.pending = true;
    this.clock.setTimer(waitMs, send);
  }

  /** A commit of this process has gone through. */
  committed({ arrangements, answers }: CommitBatch, { amidOthers }: CommitResult): void {
    if (amidOthers) this.tell('log');
    if (arrangements.length > 0) this.tell('members');
    if (answers.length > 0) this.tell('answers');
  }

  async call(text: string, values: readonly unknown[] = []): Promise<readonly Cells[]> {
    return this.host.rows({ name: text.slice(0, 60), text, values }, this.longPatience);
  }

  // Being a member.

  async join(): Promise<void> {
    const name = `${hostname()}:${process.pid}`;
    const rows = await this.call('SELECT join_members($1, $2)', [name, this.leaseMs]);
    this.member = rows[0]?.[0] as number;
    if (this.asker === 0) this.asker = this.member;
    await this.onSession(async (connection) => {
      // That of the member it was before.
      const answer = await connection.query('SELECT pg_advisory_unlock_all()');
      await this.holdLock(connection);
      return answer;
    });
    this.tell('members');
  }

  async renew(): Promise<boolean> {
    const { rows } = await this.onSession((connection) =>
      connection.query({ text: 'SELECT renew_member($1, $2) AS alive', values: [this.member, this.leaseMs] }),
    );
    return rows[0]?.['alive'] === true;
  }

  async onSession(work: (connection: Connection) => Promise<QueryAnswer>): Promise<QueryAnswer> {
    try {
      return await this.session.run(work, this.patience);
    } catch (error) {
      throw storeError(error);
    }
  }

  /** Not over the reader: that one may be waiting for a lock that the dead one holds. */
  async bury(): Promise<void> {
    const ask = async (text: string, values: readonly unknown[]): Promise<readonly Cells[]> => {
      const { rows } = await this.onSession((connection) => connection.query({ text, values, rowMode: 'array' }));
      return rows as unknown as readonly Cells[];
    };
    const doubtful = await ask('SELECT no, expired FROM doubtful_members($1, $2)', [this.member, this.leaseMs]);
    const now = this.clock.monotonic();
    const seen = new Set(doubtful.map(([no]) => no as number));
    for (const no of this.freeSince.keys()) if (!seen.has(no)) this.freeSince.delete(no);
    let found = false;
    for (const [no, expired] of doubtful as readonly (readonly [number, boolean])[]) {
      const since = this.freeSince.get(no) ?? now;
      this.freeSince.set(no, since);
      if (!expired && now - since < Math.min(GRACE_MS, this.leaseMs)) continue;
      const rows = await ask('SELECT bury_member($1)', [no]);
      found ||= rows[0]?.[0] === true;
    }
    if (found) this.tell('members');
  }

  async leave(): Promise<void> {
    await this.call('SELECT free_member($1)', [this.member]);
    this.tell('members');
  }

  async enlist(subscription: number, responds: readonly string[]): Promise<void> {
    await this.call(
      `INSERT INTO runners SELECT $1, $2, $3 FROM assert_member($2, NULL)
       ON CONFLICT (subscription, member) DO UPDATE SET responds = excluded.responds`,
      [subscription, this.member, responds],
    );
    this.tell('members');
  }

  async delist(subscription: number): Promise<void> {
    await this.call('DELETE FROM runners WHERE subscription = $1 AND member = $2', [subscription, this.member]);
    await this.call(
      `UPDATE shares SET owner = NULL, reached = (SELECT last_value FROM positions) WHERE subscription = $1 AND owner = $2`,
      [subscription, this.member],
    );
    this.tell('members');
  }

  async runners(subscription: number): Promise<{ readonly me: number; readonly all: readonly number[] }> {
    const rows = await this.call('SELECT member FROM runners WHERE subscription = $1 ORDER BY member', [subscription]);
    return { me: this.member, all: rows.map(([member]) => member as number) };
  }

  // Shares and what belongs to them.

  async claim(subscription: number, slots: number, known: readonly number[]): Promise<readonly StoredShare[]> {
    const rows = await this.call('SELECT no, slots, start, reached, version, state FROM claim_shares($1, $2, $3, $4)', [
      this.member,
      subscription,
      slots,
      known,
    ]);
    return rows.map(([no, some, start, reached, version, state]) => ({
      no: Number(no),
      slots: some as number[],
      start: Number(start),
      reached: Number(reached),
      version: Number(version),
      state: state === null ? null : new Uint8Array(state as Uint8Array),
    }));
  }

  /** In one transaction with the changes that are forgotten: what is told later has happened later. */
  async remains(subscription: number, slots: readonly number[]): Promise<Remains> {
    const values = [subscription, slots];
    try {
      return await this.host.reader.run((connection) => this.readRemains(connection, values), this.longPatience);
    } catch (error) {
      throw storeError(error);
    }
  }

  async readRemains(connection: Connection, values: readonly unknown[]): Promise<Remains> {
    await connection.query('BEGIN');
    try {
      await connection.query({ text: 'SELECT forget_changes($1, $2, $3)', values: [this.member, ...values] });
      const rows = await connection.query({
        text: `SELECT ${deliveryColumns} FROM deliveries d
                WHERE d.subscription = $1 AND d.slot = ANY ($2) AND d.state IN (0, 1, 4) ORDER BY d.position`,
        values,
        rowMode: 'array',
      });
      const keys = await connection.query({
        text: `SELECT key, count(*) FILTER (WHERE state = 2) AS held, count(*) FILTER (WHERE state = 3) AS holding
                 FROM deliveries WHERE subscription = $1 AND slot = ANY ($2) AND key IS NOT NULL
                  AND (state = 2 OR (state = 3 AND holds)) GROUP BY key`,
        values,
      });
      await connection.query('COMMIT');
      return {
        rows: (rows.rows as unknown as readonly Cells[]).map(deliveryOf),
        keys: keys.rows.map(
          (row): HeldKeyCount => ({
            key: row['key'] as string,
            held: Number(row['held']),
            holding: Number(row['holding']),
          }),
        ),
      };
    } catch (error) {
      // At once: what waits for the connection must not find a transaction that has failed.
      await connection.query('ROLLBACK');
      throw error;
    }
  }

  async changeDead({ kind, subscriptionName, positions, data, nowMs }: DeadChange): Promise<readonly number[]> {
    const rows = await this.call('SELECT change_dead($1, no, $3, $4, $5) FROM subscriptions WHERE name = $2', [
      kind,
      subscriptionName,
      positions ?? null,
      data ?? null,
      nowMs,
    ]);
    const found = ((rows[0]?.[0] ?? []) as string[]).map(Number);
    const missing = positions?.filter((position) => !found.includes(position)) ?? [];
    if (missing.length > 0) {
      throw carillonError(
        'CARILLON_DEAD_LETTER_UNKNOWN',
        `subscription "${subscriptionName}" has no dead letter at position ${missing.join(', ')}`,
        { subscription: subscriptionName, positions: missing },
      );
    }
    if (found.length > 0) this.tell('changes');
    return found;
  }

  /** Forgotten there once they are known here: an answer may be lost. */
  async takeChanges(): Promise<readonly RowChange[]> {
    const taken: RowChange[] = [];
    for (let seen: unknown[] = []; ; ) {
      const rows = await this.call(
        'SELECT no, kind, subscription, slot, position, at, holds, key FROM take_changes($1, $2)',
        [this.member, seen],
      );
      if (rows.length === 0) return taken;
      seen = rows.map(([no]) => no);
      for (const [, kind, subscription, slot, position, at, holds, key] of rows) {
        taken.push({
          kind: kind as RowChange['kind'],
          subscription: subscription as number,
          row: {
            slot: slot as number,
            position: Number(position),
            holds: holds as boolean,
            key: key as string | null,
          },
          atMs: Number(at),
        });
      }
    }
  }

  async look(): Promise<Sight> {
    const values = [this.host.now(), this.asker];
    const rows = await this.call(
      'SELECT last, removed, next_due, members, moved, changed, answered FROM look($1, $2)',
      values,
    );
    const [last, removed, due, members, moved, changes, answers] = rows[0] as Cells;
    this.members = members as number;
    if (moved === true) this.tell('log');
    return {
      last: Number(last),
      removed: Number(removed),
      nextDueMs: due === null ? null : Number(due),
      changes: changes === true,
      answers: answers === true,
    };
  }

  // Requests.

  async responders(type: string): Promise<readonly string[]> {
    const rows = await this.call(
      `SELECT DISTINCT s.name FROM runners r JOIN subscriptions s ON s.no = r.subscription
        WHERE r.member <> $1 AND $2 = ANY (r.responds) ORDER BY s.name`,
      [this.member, type],
    );
    return rows.map(([name]) => name as string);
  }

  /** As with changes. */
  async takeAnswers(): Promise<readonly Answer[]> {
    const rows = await this.call(
      'SELECT no, asker, source, id, subscription, answer FROM answers WHERE asker = $1 ORDER BY no',
      [this.asker],
    );
    if (rows.length > 0) await this.call('DELETE FROM answers WHERE no = ANY ($1)', [rows.map(([no]) => no)]);
    return rows.map(
      ([, asker, source, id, subscription, answer]) => ({ asker, source, id, subscription, answer }) as Answer,
    );
  }

  close(): Promise<void> {
    return this.session.close();
  }

  kill(): void {
    this.session.kill();
  }
}
