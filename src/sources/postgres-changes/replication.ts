import pg from 'pg';
import { carillonError, systemClock, toError } from '../../core/index.ts';
import { databaseError, quoteIdentifier, quoteLiteral, sqlStateOf } from '../../postgres/index.ts';
import { Frames } from './frames.ts';
import { lsnText, parseLsn, type Lsn } from './lsn.ts';
import { SHOWN_AS } from './values.ts';

/**
 * A replication connection: the server's logical walsender at the other end
 * ({@link https://www.postgresql.org/docs/current/protocol-replication.html}).
 *
 * States: `open` (statements) → `streaming` (rows come; statements no more) → `ended`.
 */
export interface StreamHandler {
  /** One change of the plug-in, valid for the time of the call. False: no more until {@link Replication.resume}. */
  change(bytes: Buffer, start: number, end: number): boolean;
  /** The server has read its log up to here, and sent all that was committed before. */
  alive(reached: Lsn): void;
  /** What to confirm when the server asks. */
  confirmed(): Lsn;
}

/** The server, as `IDENTIFY_SYSTEM` tells it. */
export interface SystemIdentity {
  readonly system: string;
  readonly timeline: number;
  readonly at: Lsn;
  readonly database: string;
}

export interface CreatedSlot {
  readonly at: Lsn;
  /** Name of the exported snapshot, valid until the next statement. */
  readonly snapshot: string;
}

const CHANGE = 0x77;
const KEEPALIVE = 0x6b;
/** Before the plug-in's own bytes: the kind, where it starts, where the log ends, when it was sent. */
const CHANGE_HEADER = 25;
/** Well under the server's `wal_sender_timeout`, a minute by default. */
const STATUS_EVERY_MS = 10_000;
/** A server from which nothing was heard for so long, though it was asked, is gone. */
const SILENCE_MS = 60_000;
const EPOCH_MS = 946_684_800_000;

interface Internals {
  readonly stream: NodeJS.ReadWriteStream & { destroy(): void };
  sendCopyFromChunk(chunk: Buffer): void;
  once(event: 'replicationStart', listener: () => void): void;
}

export class Replication {
  readonly client: pg.Client;
  readonly label: string;
  readonly ended: Promise<Error>;
  end: (error: Error) => void = () => undefined;
  over = false;
  frames: Frames | null = null;
  handler: StreamHandler | null = null;
  status: { cancel(): void } | null = null;
  received: Lsn = 0n;
  heardMs = 0;
  paused = false;

  constructor(client: pg.Client, label: string) {
    this.client = client;
    this.label = label;
    this.ended = new Promise((resolve) => {
      this.end = (error) => {
        if (this.over) return;
        this.over = true;
        this.status?.cancel();
        resolve(error);
      };
    });
    client.on('error', (error) => this.end(databaseError(error, label, 'broken')));
    client.on('end', () =>
      this.end(databaseError(new Error('the connection was closed by the server'), label, 'broken')),
    );
  }

  /** Fails as a connector does; without the attribute REPLICATION with `CARILLON_DATABASE_RIGHTS`. */
  static async open(config: pg.ClientConfig, label: string, applicationName: string): Promise<Replication> {
    const client = new pg.Client({
      ...config,
      // Not among what @types/pg knows.
      ...({ replication: 'database' } as object),
      application_name: applicationName,
      connectionTimeoutMillis: 10_000,
      keepAlive: true,
    });
    const replication = new Replication(client, label);
    try {
      await client.connect();
      await client.query(SHOWN_AS);
      return replication;
    } catch (thrown) {
      replication.abort();
      throw replicationError(thrown, label, client.user ?? '');
    }
  }

  async statement(sql: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    try {
      return (await this.client.query(sql)).rows as readonly Readonly<Record<string, unknown>>[];
    } catch (error) {
      throw refusal(error, this.label);
    }
  }

  async identify(): Promise<SystemIdentity> {
    const [row] = await this.statement('IDENTIFY_SYSTEM');
    return {
      system: String(row?.['systemid']),
      timeline: Number(row?.['timeline']),
      at: parseLsn(String(row?.['xlogpos'])),
      database: String(row?.['dbname']),
    };
  }

  async createSlot(slot: string): Promise<CreatedSlot> {
    const [row] = await this.statement(
      `CREATE_REPLICATION_SLOT ${quoteIdentifier(slot, 'slot')} LOGICAL pgoutput (SNAPSHOT 'export')`,
    );
    return { at: parseLsn(String(row?.['consistent_point'])), snapshot: String(row?.['snapshot_name']) };
  }

  /** Resolves once rows may come. Fails with `CARILLON_CHANGES_SLOT_TAKEN` while another connection has the slot. */
  async stream(slot: string, publication: string, from: Lsn, handler: StreamHandler): Promise<void> {
    const connection = (this.client as unknown as { connection: Internals }).connection;
    const { stream } = connection;
    this.handler = handler;
    const frames = this.takeOver(stream);
    const started = new Promise<void>((resolve) => connection.once('replicationStart', resolve));
    const options = [
      "proto_version '1'",
      `publication_names ${quoteLiteral(quoteIdentifier(publication, 'publication')).trim()}`,
      "messages 'true'",
    ];
    const sql = `START_REPLICATION SLOT ${quoteIdentifier(slot, 'slot')} LOGICAL ${lsnText(from)} (${options.join(', ')})`;
    const streaming = this.client.query(sql).then(
      () => this.end(databaseError(new Error('the server has ended the stream'), this.label, 'broken')),
      (thrown: unknown) => {
        const error = refusal(thrown, this.label);
        this.end(error);
        throw error;
      },
    );
    await Promise.race([started, streaming, this.ended.then((error) => Promise.reject(error))]);
    // An error of the stream later on is told through `ended`.
    streaming.catch(() => undefined);
    this.frames = frames;
    this.heardMs = systemClock.monotonic();
    this.armStatus();
  }

  /** From here on the bytes come here first: `pg` would make an object and an event of each row. */
  takeOver(stream: Internals['stream']): Frames {
    const parsers = stream.listeners('data') as ((chunk: Buffer) => void)[];
    stream.removeAllListeners('data');
    const frames = new Frames({
      row: (bytes, start, end) => this.row(bytes, start, end),
      other: (frame) => {
        for (const parse of parsers) parse(frame);
      },
    });
    stream.on('data', (chunk: Buffer) => this.guarded(() => frames.push(chunk)));
    return frames;
  }

  guarded(work: () => void): void {
    if (this.over) return;
    this.heardMs = systemClock.monotonic();
    try {
      work();
    } catch (error) {
      this.end(toError(error));
    }
  }

  row(bytes: Buffer, start: number, end: number): boolean {
    if (this.over) return false;
    const handler = this.handler as StreamHandler;
    const kind = bytes[start];
    if (kind === CHANGE) {
      const from = bytes.readBigInt64BE(start + 1);
      if (from > this.received) this.received = from;
      if (handler.change(bytes, start + CHANGE_HEADER, end)) return true;
      this.pause();
      return false;
    }
    if (kind === KEEPALIVE) {
      const reached = bytes.readBigInt64BE(start + 1);
      if (reached > this.received) this.received = reached;
      handler.alive(reached);
      if (bytes[start + 17] === 1) this.tellStatus();
      return true;
    }
    throw carillonError('CARILLON_CHANGES_PROTOCOL', `the stream has a frame of the unknown kind ${kind}`);
  }

  pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.socket().pause();
  }

  resume(): void {
    if (!this.paused || this.over) return;
    this.paused = false;
    this.guarded(() => this.frames?.resume());
    // What was kept may have filled everything again.
    if (!this.paused) this.socket().resume();
  }

  socket(): Internals['stream'] {
    return (this.client as unknown as { connection: Internals }).connection.stream;
  }

  armStatus(): void {
    this.status = systemClock.setTimer(STATUS_EVERY_MS, () => {
      if (this.over) return;
      const silentMs = systemClock.monotonic() - this.heardMs;
      // While paused we do not listen, so silence says nothing.
      if (!this.paused && silentMs > SILENCE_MS) {
        this.end(databaseError(new Error('nothing was heard from the server for a minute'), this.label, 'broken'));
        return;
      }
      this.tellStatus(!this.paused && silentMs > SILENCE_MS / 2);
      this.armStatus();
    });
  }

  /** Tells how far the log was received, and up to where it may be forgotten. @param ask whether to answer at once */
  tellStatus(ask = false): void {
    if (this.over || this.handler === null) return;
    const confirmed = this.handler.confirmed();
    const status = Buffer.alloc(34);
    status[0] = 0x72;
    status.writeBigInt64BE(this.received > confirmed ? this.received : confirmed, 1);
    status.writeBigInt64BE(confirmed, 9);
    status.writeBigInt64BE(confirmed, 17);
    status.writeBigInt64BE(BigInt(systemClock.now() - EPOCH_MS) * 1000n, 25);
    status[33] = ask ? 1 : 0;
    (this.client as unknown as { connection: Internals }).connection.sendCopyFromChunk(status);
  }

  /** Takes leave of the server, so that it knows at once that the slot is free. */
  async close(): Promise<void> {
    if (this.over) return this.abort();
    this.end(carillonError('CARILLON_STOPPED', 'the source is stopping'));
    if (this.paused) return this.abort();
    const closed = new Promise<void>((resolve) => this.socket().once('close', () => resolve()));
    const timer = systemClock.setTimer(2_000, () => this.abort());
    this.socket().end();
    await closed;
    timer.cancel();
  }

  abort(): void {
    this.end(carillonError('CARILLON_STOPPED', 'the connection was given up'));
    this.socket()?.destroy();
  }
}

/** What the server says to a statement of ours, in words of the catalogue. */
export function refusal(thrown: unknown, label: string): Error {
  const error = databaseError(thrown, label);
  const state = sqlStateOf(error);
  const details = { database: label, ...(state === undefined ? {} : { sqlState: state }) };
  const told = `${label}: ${error.message}`;
  if (state === '55006') return carillonError('CARILLON_CHANGES_SLOT_TAKEN', told, details, error);
  if ('kind' in error) return error;
  if (state === '55000' && /wal_level/.test(error.message)) {
    return carillonError('CARILLON_CHANGES_WAL_LEVEL', told, details, error);
  }
  return carillonError('CARILLON_CHANGES_REFUSED', told, details, error);
}

function replicationError(thrown: unknown, label: string, user: string): Error {
  const error = databaseError(thrown, label);
  if (sqlStateOf(error) !== '42501') return error;
  const message = `${label}: ${toError(thrown).message}; a superuser grants it: ALTER ROLE ${quoteIdentifier(user || 'user', 'user')} REPLICATION`;
  return carillonError('CARILLON_DATABASE_RIGHTS', message, { database: label, sqlState: '42501' }, error);
}
