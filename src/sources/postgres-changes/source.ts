import {
  carillonError,
  isCarillonError,
  toError,
  type Bus,
  type Clock,
  type Event,
  type Logger,
  type Timer,
} from '../../core/index.ts';
import { clientConfig, connectorOf, quoteIdentifier, type Connection, type Connector } from '../../postgres/index.ts';
import { Batches, mayPass } from './batches.ts';
import { Changes } from './changes.ts';
import { Journal, lastGeneration, type Generation, type JournalEntry } from './journal.ts';
import { lsnText, parseLsn, type Lsn } from './lsn.ts';
import { DDL_SQL, HEARTBEAT_SQL } from './messages.ts';
import type { ResolvedOptions } from './options.ts';
import { PgoutputReader, type Relation } from './pgoutput.ts';
import { Replication, type SystemIdentity } from './replication.ts';
import { Snapshot } from './snapshot.ts';
import { ask, ensurePublication, primaryKeyOf, publishedTables, tablesDigest } from './tables.ts';

/**
 * The life of a source.
 *
 * `stopped` → (start) → `connecting` → `snapshot` → `streaming`, or straight to `streaming` where the snapshot was
 * complete before. A connection that breaks: → `waiting` → `connecting`. What cannot pass by itself, a gap above all: →
 * `failed`, for good. `stop` from anywhere → `stopped`.
 *
 * What is done with the slot when connecting (`prepare`) is decided by two things alone, the slot on the server and the
 * journal on the bus:
 *
 * | slot | journal | then |
 * |---|---|---|
 * | stands at a place | that place is told, same server, timeline and tables | stream from there |
 * | there or not | the last generation's snapshot is not complete | drop the slot, begin the next generation |
 * | not there | empty | begin generation 1 |
 * | there | empty | it is somebody else's: refuse |
 * | lost, moved, not there, or another server or timeline | the last generation is complete | gap |
 *
 * A generation: `started` is told, the slot is made, its snapshot is told, `snapshotted` and `position` are told in one
 * batch. A crash before that begins the next generation, whose rows are told from the first one on: what an earlier
 * generation told is void. A gap is told, and then ends the source, or begins the next generation (`afterGap`).
 */
export type SourceState = 'stopped' | 'connecting' | 'snapshot' | 'streaming' | 'waiting' | 'failed';

/** How a source stands. */
export interface SourceStatus {
  readonly state: SourceState;
  /** Why it waits or has failed. */
  readonly error: Error | null;
  readonly generation: number;
  /** Up to here all is on the bus, and the server may forget it. */
  readonly confirmed: string;
  /** Changes published since the start. */
  readonly published: number;
  /** Of these, the ones that were on the bus already. */
  readonly duplicates: number;
}

/** Where published changes get their place in the journal, and the server its confirmation. */
const JOURNAL_EVERY_MS = 1_000;
/** Log written by others before the place is moved on an idle source: one segment, which is what the server keeps anyway. */
const IDLE_BYTES = 16n * 1024n * 1024n;
/** How often it is moved at the latest, so that retention on the bus does not take the last one away. */
const IDLE_MS = 24 * 60 * 60 * 1000;
const SLOT_RETRY_MS = 250;
const SERVER_VERSION_MIN = 150_000;

interface Session {
  readonly control: Connection;
  readonly replication: Replication;
  readonly identity: SystemIdentity;
}

interface SlotState {
  readonly confirmed: Lsn | null;
  readonly foreign: string | null;
  readonly lost: string | null;
}

/** Where to go on: in a generation that is streaming, or with a new one. */
type Plan = { readonly generation: Generation; readonly from: Lsn | null };

export class Source {
  readonly options: ResolvedOptions;
  readonly clock: Clock;
  readonly bus: Bus;
  readonly log: Logger;
  readonly connector: Connector;
  readonly sourceUri: string;
  readonly journal: Journal;
  state: SourceState = 'stopped';
  error: Error | null = null;
  generation = 0;
  session: Session | null = null;
  batches: Batches | null = null;
  running: Promise<void> = Promise.resolve();
  stopping = false;
  /** Ends whatever is waited for when stopping. */
  wake: () => void = () => undefined;
  confirmed: Lsn = 0n;
  /** All changes up to here are durable on the bus. */
  durable: Lsn = 0n;
  journaledMs = 0;
  published = 0;
  duplicates = 0;

  constructor(options: ResolvedOptions, clock: Clock, bus: Bus, log: Logger) {
    this.options = options;
    this.clock = clock;
    this.bus = bus;
    this.log = log;
    this.connector = connectorOf(options.database);
    this.sourceUri = `/postgres-changes/${options.name}`;
    this.journal = new Journal(bus, this.sourceUri, options.name, clock);
  }

  get status(): SourceStatus {
    const { state, error, generation, confirmed, published, duplicates } = this;
    return { state, error, generation, confirmed: lsnText(confirmed), published, duplicates };
  }

  /** Resolves once it is known that the source can run. Fails with what stands in its way. */
  async start(): Promise<void> {
    this.state = 'connecting';
    try {
      const session = await this.connect();
      const plan = await this.prepare(session, this.options.slotWaitMs);
      this.running = this.run(session, plan);
    } catch (error) {
      this.state = 'failed';
      this.error = toError(error);
      throw error;
    }
  }

  async stop(): Promise<void> {
    this.stopping = true;
    this.wake();
    this.session?.replication.pause();
    await this.running;
    if (this.state !== 'failed') this.state = 'stopped';
  }

  // Connecting.

  async connect(): Promise<Session> {
    const { options, connector } = this;
    const { label } = connector;
    const applicationName = `carillon ${options.name}`;
    const control = await connector.connect({ applicationName });
    let replication: Replication | null = null;
    try {
      const [server] = await ask(
        control,
        label,
        `SELECT current_setting('server_version_num')::int AS version, current_setting('wal_level') AS level,
                current_setting('server_version') AS shown`,
      );
      if (Number(server?.['version']) < SERVER_VERSION_MIN) {
        const message = `${label} runs PostgreSQL ${String(server?.['shown'])}; changes need 15 or later`;
        throw carillonError('CARILLON_CHANGES_PROTOCOL', message, { database: label });
      }
      if (server?.['level'] !== 'logical') {
        const message = `${label} has wal_level = ${String(server?.['level'])}`;
        throw carillonError('CARILLON_CHANGES_WAL_LEVEL', message, { database: label, walLevel: server?.['level'] });
      }
      replication = await Replication.open(clientConfig(options.database), label, applicationName);
      this.session = { control, replication, identity: await replication.identify() };
      return this.session;
    } catch (error) {
      replication?.abort();
      await control.close();
      throw error;
    }
  }

  async prepare(session: Session, slotWaitMs: number): Promise<Plan> {
    try {
      return await this.decide(session, slotWaitMs);
    } catch (error) {
      await this.leave(session);
      throw error;
    }
  }

  async leave({ control, replication }: Session): Promise<void> {
    await replication.close();
    await control.close();
    this.session = null;
  }

  async decide(session: Session, slotWaitMs: number): Promise<Plan> {
    const { control, identity } = session;
    const { options, journal, connector } = this;
    const { slot } = options;
    await this.slotFree(control, slotWaitMs);
    const state = await this.slotState(control);
    if (state !== null && state.foreign !== null) throw this.foreign(state.foreign);
    await this.installDdl(control);
    if (state !== null && state.lost === null && state.confirmed !== null) {
      const entry = await journal.positionAt(identity, state.confirmed);
      if (entry !== null && entry.slot === slot && entry.database === identity.database) {
        await this.assertSameTables(control, entry);
        return { generation: generationOf(entry), from: state.confirmed };
      }
    }
    const last = lastGeneration(await journal.history());
    if (last === null && state !== null) {
      throw this.foreign('the bus knows nothing of it: nothing of this source was ever published here');
    }
    if (last !== null && last.complete) await this.gap(session, last, state);
    await ensurePublication(control, connector.label, options);
    if (state !== null) {
      await ask(control, connector.label, 'SELECT pg_catalog.pg_drop_replication_slot($1)', [slot]);
    }
    const generation: Generation = {
      generation: (last?.entry.generation ?? 0) + 1,
      system: identity.system,
      timeline: identity.timeline,
      database: identity.database,
      slot,
      publication: options.publication,
      tables: await tablesDigest(control, connector.label, options),
    };
    return { generation, from: null };
  }

  /** A process that was killed leaves the slot taken until the server has noticed. */
  async slotFree(control: Connection, slotWaitMs: number): Promise<void> {
    const { slot } = this.options;
    const endsAt = this.clock.monotonic() + slotWaitMs;
    for (let told = false; ; told = true) {
      const [row] = await ask(
        control,
        this.connector.label,
        `SELECT s.active_pid::int AS pid, a.application_name AS application, a.client_addr::text AS address
           FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid
          WHERE s.slot_name = $1 AND s.active`,
        [slot],
      );
      if (row === undefined) return;
      const { pid, application, address } = row as Readonly<Record<string, string | null>>;
      const who = `the server's process ${pid ?? ''} (${application ?? 'unknown'}, ${address ?? 'local'})`;
      if (this.stopping || this.clock.monotonic() >= endsAt) {
        const message = `${this.connector.label}: the slot ${slot} is in use by ${who}`;
        throw carillonError('CARILLON_CHANGES_SLOT_TAKEN', message, { slot, pid });
      }
      if (!told) this.log.info('the slot is in use; waiting for it', { slot, pid });
      await this.pause(SLOT_RETRY_MS);
    }
  }

  async slotState(control: Connection): Promise<SlotState | null> {
    const { slot } = this.options;
    // Read as JSON, because the reason for an invalidation has a column only from PostgreSQL 17 on.
    const [row] = await ask(
      control,
      this.connector.label,
      `SELECT to_jsonb(s) AS slot, current_database() AS here FROM pg_catalog.pg_replication_slots s WHERE slot_name = $1`,
      [slot],
    );
    if (row === undefined) return null;
    const found = row['slot'] as Readonly<Record<string, string | null>>;
    const here = String(row['here']);
    let foreign: string | null = null;
    if (found['slot_type'] !== 'logical') foreign = 'it is not a logical slot';
    else if (found['plugin'] !== 'pgoutput') foreign = `its plug-in is ${found['plugin'] ?? 'none'}, not pgoutput`;
    else if (found['database'] !== here) foreign = `it is of the database ${found['database'] ?? 'none'}, not ${here}`;
    const reason = found['invalidation_reason'] ?? null;
    const lost = found['wal_status'] === 'lost' || reason !== null ? (reason ?? 'wal_removed') : null;
    const confirmed = found['confirmed_flush_lsn'] ?? null;
    return { confirmed: confirmed === null ? null : parseLsn(confirmed), foreign, lost };
  }

  foreign(why: string): Error {
    const { slot } = this.options;
    const message = `${this.connector.label}: the slot ${slot} is not this source's: ${why}`;
    return carillonError('CARILLON_CHANGES_SLOT_FOREIGN', message, { slot });
  }

  async assertSameTables(control: Connection, entry: JournalEntry): Promise<void> {
    const { options, connector } = this;
    // Named tables must be those published, too.
    if (options.tables !== null) await ensurePublication(control, connector.label, options);
    const tables = await tablesDigest(control, connector.label, options);
    if (tables === entry.tables) return;
    const message = `${connector.label}: the publication ${quoteIdentifier(options.publication)} has other tables than when this source began`;
    throw carillonError('CARILLON_CHANGES_TABLES', message, { publication: options.publication });
  }

  /** Tells the gap. Throws unless the source is to go on with a new snapshot. */
  async gap(
    { identity }: Session,
    last: NonNullable<ReturnType<typeof lastGeneration>>,
    state: SlotState | null,
  ): Promise<void> {
    const { entry, reached } = last;
    const { slot, afterGap } = this.options;
    let reason = 'slot-moved';
    let told = `the slot ${slot} stands at ${lsnText(state?.confirmed ?? 0n)}, where this source never put it`;
    if (entry.system !== identity.system) {
      reason = 'other-system';
      told = `this is another server (${identity.system}) than the one captured so far (${entry.system})`;
    } else if (entry.database !== identity.database) {
      reason = 'other-database';
      told = `this is another database (${identity.database}) than the one captured so far (${entry.database})`;
    } else if (entry.timeline !== identity.timeline) {
      reason = 'other-timeline';
      told = `the server is on timeline ${identity.timeline}, and was on ${entry.timeline}: it was restored or promoted`;
    } else if (entry.slot !== slot || state === null) {
      reason = 'slot-gone';
      told = `the slot ${entry.slot} is gone`;
    } else if (state.lost !== null) {
      reason = 'slot-lost';
      told = `the server has given up the slot ${slot} (${state.lost})`;
    }
    const place = `${identity.system}:${identity.timeline}:${lsnText(state?.confirmed ?? 0n)}`;
    const id = `gap:${entry.generation}:${reason}:${place}`;
    const message = `changes after ${lsnText(reached)} may be missing: ${told}`;
    const data = { ...entry, kind: 'gap' as const, lsn: lsnText(reached), reason, message };
    await this.bus.publish(this.journal.make('gap', id, data));
    this.log.error('there is a gap in the changes', { reason, reached: lsnText(reached), told });
    if (afterGap === 'snapshot') return;
    throw carillonError('CARILLON_CHANGES_GAP', `${this.connector.label}: ${message}`, {
      reason,
      reached: lsnText(reached),
    });
  }

  async installDdl(control: Connection): Promise<void> {
    const { ddl } = this.options;
    if (ddl === false) return;
    const { label } = this.connector;
    try {
      const [there] = await ask(
        control,
        label,
        `SELECT count(*)::int AS n FROM pg_catalog.pg_event_trigger WHERE evtname IN ('carillon_changes_ddl', 'carillon_changes_drop')`,
      );
      if (there?.['n'] === 2) return;
      await ask(control, label, 'BEGIN');
      for (const statement of DDL_SQL) await ask(control, label, statement);
      await ask(control, label, 'COMMIT');
    } catch (error) {
      if (!isCarillonError(error, 'CARILLON_DATABASE_RIGHTS')) throw error;
      await ask(control, label, 'ROLLBACK');
      if (ddl !== 'ifAllowed') throw error;
      this.log.warn('changes of definitions are not told: event triggers need a superuser', { error: error.message });
    }
  }

  // Running.

  async run(first: Session, planned: Plan): Promise<void> {
    let session: Session | null = first;
    let plan: Plan | null = planned;
    let failures = 0;
    while (!this.stopping) {
      const startedMs = this.clock.monotonic();
      try {
        if (session === null || plan === null) {
          this.state = 'connecting';
          session = await this.connect();
          plan = await this.prepare(session, 0);
        }
        await this.capture(session, plan);
      } catch (thrown) {
        const error = toError(thrown);
        if (this.stopping) break;
        this.error = error;
        if (isCarillonError(error, 'CARILLON_STOPPED')) {
          // The bus is stopping, and will stop the source when its turn comes.
          this.state = 'stopped';
          return;
        }
        if (!mayPass(error)) {
          this.state = 'failed';
          this.log.error('capturing changes has ended', { error: error.message });
          return;
        }
        failures = this.clock.monotonic() - startedMs > this.options.lastMs ? 0 : failures + 1;
        const { firstMs, lastMs } = this.options;
        const waitMs = Math.random() * Math.min(lastMs, firstMs * 2 ** Math.min(failures, 20));
        this.state = 'waiting';
        this.log.warn('capturing changes was interrupted', { error: error.message, retryMs: Math.round(waitMs) });
        await this.pause(waitMs);
      }
      session = null;
      plan = null;
    }
  }

  pause(ms: number): Promise<void> {
    if (this.stopping) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.clock.setTimer(ms, resolve);
      this.wake = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  /** One session, until it ends: always by an error, but when stopping. */
  async capture(session: Session, { generation, from }: Plan): Promise<void> {
    const { control, replication } = session;
    let end: (error: Error) => void = () => undefined;
    const ended = new Promise<Error>((resolve) => (end = resolve));
    void replication.ended.then(end);
    void control.broken.then(end);
    let onRoom: () => void = () => undefined;
    const batches = new Batches({
      clock: this.clock,
      batchEvents: this.options.batchEvents,
      publish: (events, reached) => this.publish(events, reached),
      onBroken: (error) => end(error),
      onRefused: (error) => this.log.warn('the bus does not take changes now; trying again', { error: error.message }),
      onRoom: () => onRoom(),
    });
    this.batches = batches;
    this.generation = generation.generation;
    const timers: Timer[] = [];
    const stopped = new Promise<Error>((resolve) => {
      this.wake = () => resolve(carillonError('CARILLON_STOPPED', 'the source is stopping'));
    });
    if (this.stopping) this.wake();
    const failure = Promise.race([ended, stopped]);
    const unlessEnded = async <Result>(work: Promise<Result>): Promise<Result> => {
      work.catch(() => undefined);
      return Promise.race([work, failure.then((error) => Promise.reject(error))]);
    };
    try {
      const streamFrom =
        from ?? (await this.tellSnapshot(session, generation, batches, unlessEnded, (room) => (onRoom = room)));
      this.durable = streamFrom;
      this.confirmed = streamFrom;
      await this.stream(session, generation, batches, streamFrom, unlessEnded, (room) => (onRoom = room));
      this.state = 'streaming';
      this.error = null;
      this.every(JOURNAL_EVERY_MS, timers, () => this.moveOn(generation, session), end);
      const { heartbeatMs } = this.options;
      if (heartbeatMs > 0) this.every(heartbeatMs, timers, async () => void (await control.query(HEARTBEAT_SQL)), end);
      throw await failure;
    } finally {
      for (const timer of timers) timer.cancel();
      await batches.close();
      if (this.stopping) await this.lastWords(generation, session);
      await this.leave(session);
    }
  }

  /** Runs again and again, so long after the last time was done. */
  every(ms: number, timers: Timer[], work: () => Promise<void>, end: (error: Error) => void): void {
    const slot = timers.length;
    const arm = (): void => {
      timers[slot] = this.clock.setTimer(ms, () => void work().then(arm, (error: unknown) => end(toError(error))));
    };
    arm();
  }

  async tellSnapshot(
    session: Session,
    generation: Generation,
    batches: Batches,
    unlessEnded: <Result>(work: Promise<Result>) => Promise<Result>,
    setOnRoom: (room: () => void) => void,
  ): Promise<Lsn> {
    const { options, journal, bus, connector } = this;
    this.state = 'snapshot';
    await bus.publish(journal.event('started', generation, null));
    const slot = await unlessEnded(session.replication.createSlot(options.slot));
    let rows = 0;
    if (options.snapshot) {
      const snapshot = new Snapshot(session.control, connector.label, options.publication);
      await unlessEnded(snapshot.open(slot.snapshot));
      const changes = this.changesOf(session, generation, batches, []);
      for (const table of await publishedTables(session.control, connector.label, options.publication)) {
        this.keys.set(table.relation.oid, table.primaryKey);
      }
      changes.beginSnapshot(slot.at, new Date(this.clock.now()).toISOString());
      const room = (): Promise<void> =>
        batches.full ? unlessEnded(new Promise<void>((resolve) => setOnRoom(resolve))) : Promise.resolve();
      rows = await unlessEnded(snapshot.tell(changes, room));
      await unlessEnded(batches.flushed());
    }
    const done = [journal.event('snapshotted', generation, slot.at), journal.event('position', generation, slot.at)];
    await unlessEnded(bus.publish(done));
    this.journaledMs = this.clock.monotonic();
    this.log.info('the snapshot is complete', { rows, at: lsnText(slot.at), generation: generation.generation });
    return slot.at;
  }

  /** Primary keys of tables whose rows come whole, by the number of the relation. */
  readonly keys: Map<number, readonly string[]> = new Map();

  changesOf(session: Session, { generation }: Generation, batches: Batches, lookups: Relation[]): Changes {
    return new Changes({
      source: this.sourceUri,
      database: session.identity.database,
      generation,
      sink: batches,
      keyLookup: (relation) => {
        const known = this.keys.get(relation.oid);
        if (known === undefined) lookups.push(relation);
        return known ?? [];
      },
    });
  }

  async stream(
    session: Session,
    generation: Generation,
    batches: Batches,
    from: Lsn,
    unlessEnded: <Result>(work: Promise<Result>) => Promise<Result>,
    setOnRoom: (room: () => void) => void,
  ): Promise<void> {
    const { control, replication } = session;
    const { options, connector } = this;
    const lookups: Relation[] = [];
    this.keys.clear();
    const changes = this.changesOf(session, generation, batches, lookups);
    const reader = new PgoutputReader(changes);
    let looking = false;
    /** Both must be over: rows read before their key is known would be told without it. */
    const goOn = (): void => {
      if (!looking && !batches.full) replication.resume();
    };
    setOnRoom(goOn);
    const lookUp = async (): Promise<void> => {
      for (const relation of lookups.splice(0)) {
        this.keys.set(relation.oid, await primaryKeyOf(control, connector.label, relation.oid));
        changes.relation(relation);
        // The next description of this table may come with another key.
        this.keys.delete(relation.oid);
      }
      looking = false;
      goOn();
    };
    const stream = replication.stream(options.slot, options.publication, from, {
      change: (bytes, start, end) => {
        changes.size = end - start;
        reader.read(bytes, start, end);
        if (lookups.length > 0) {
          looking = true;
          lookUp().catch((error: unknown) => replication.end(toError(error)));
          return false;
        }
        return !batches.full;
      },
      alive: (reached) => {
        if (!changes.within) batches.reached(reached);
      },
      confirmed: () => this.confirmed,
    });
    await unlessEnded(stream);
  }

  async publish(events: readonly Event[], reached: Lsn | null): Promise<void> {
    if (events.length > 0) {
      const results = await this.bus.publish(events);
      this.published += results.length;
      for (const { duplicate } of results) if (duplicate) this.duplicates++;
    }
    if (reached !== null && reached > this.durable) this.durable = reached;
  }

  /** Confirms what is durable: told in the journal first. */
  async moveOn(generation: Generation, { replication }: Session): Promise<void> {
    const { batches, clock } = this;
    let target = this.durable;
    if (target <= this.confirmed && batches?.empty === true && batches.idleAt > this.confirmed) {
      const far = batches.idleAt - this.confirmed >= IDLE_BYTES;
      if (far || clock.monotonic() - this.journaledMs >= IDLE_MS) target = batches.idleAt;
    }
    if (target <= this.confirmed) return;
    await this.bus.publish(this.journal.event('position', generation, target));
    this.journaledMs = clock.monotonic();
    this.confirmed = target;
    replication.tellStatus();
  }

  /** So that a clean stop leaves nothing to read again. A bus that takes no more publishes has it read again. */
  async lastWords(generation: Generation, session: Session): Promise<void> {
    if (this.state !== 'streaming') return;
    try {
      await this.moveOn(generation, session);
    } catch (error) {
      if (!isCarillonError(error, 'CARILLON_STOPPED'))
        this.log.warn('the last place was not told', { error: toError(error).message });
    }
  }
}

function generationOf({ generation, system, timeline, database, slot, publication, tables }: JournalEntry): Generation {
  return { generation, system, timeline, database, slot, publication, tables };
}
