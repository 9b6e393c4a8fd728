import { makeEvent, uuidv7, type Bus, type Clock, type Event } from '../../core/index.ts';
import { lsnText, parseLsn, type Lsn } from './lsn.ts';
import type { SystemIdentity } from './replication.ts';

/**
 * What the source remembers, as events on the bus it publishes to: whatever makes the changes durable makes this so, and
 * neither a file nor a table has to agree with it.
 *
 * - `started`: a generation begins: its tables, and that a slot is about to be made for it.
 * - `snapshotted`: its snapshot is complete, and the stream goes on from here.
 * - `position`: all changes up to here are on the bus. **Nothing is confirmed to the server that is not told here
 *   first**; so where the slot stands is always a place that is told here, and one where it is not is not ours.
 * - `gap`: changes may be missing between here and the next generation.
 *
 * A `position` is found by its id, which holds the server and the place: published again it is a duplicate, and the bus
 * tells where the first one stands (G4), however long the log is.
 */
export const journalTypes = {
  started: 'carillon.changes.started',
  snapshotted: 'carillon.changes.snapshotted',
  position: 'carillon.changes.position',
  gap: 'carillon.changes.gap',
} as const;

export type JournalKind = keyof typeof journalTypes;

export interface JournalEntry {
  readonly kind: JournalKind | 'asked';
  readonly generation: number;
  readonly system: string;
  readonly timeline: number;
  readonly database: string;
  readonly slot: string;
  readonly publication: string;
  /** Digest of the tables. */
  readonly tables: string;
  readonly lsn: string | null;
  /** Of a gap. */
  readonly reason?: string;
}

/** What stays the same for one generation. */
export type Generation = Omit<JournalEntry, 'kind' | 'lsn' | 'reason'>;

export class Journal {
  readonly bus: Bus;
  readonly source: string;
  readonly subject: string;
  readonly clock: Clock;

  constructor(bus: Bus, source: string, subject: string, clock: Clock) {
    this.bus = bus;
    this.source = source;
    this.subject = subject;
    this.clock = clock;
  }

  event(kind: JournalKind, generation: Generation, lsn: Lsn | null, more: object = {}): Event<JournalEntry> {
    const id = kind === 'position' ? positionId(generation, lsn ?? 0n) : uuidv7(this.clock.now());
    return this.make(kind, id, { kind, ...generation, lsn: lsn === null ? null : lsnText(lsn), ...more });
  }

  make(kind: JournalKind, id: string, data: JournalEntry): Event<JournalEntry> {
    const { source, subject } = this;
    const time = new Date(this.clock.now()).toISOString();
    return makeEvent({ specversion: '1.0', id, source, type: journalTypes[kind], subject, time }, data);
  }

  /** Whether that place of that server was told to be reached, and in which generation. */
  async positionAt(at: SystemIdentity, lsn: Lsn): Promise<JournalEntry | null> {
    // Stored where it was not known; as a question it will never be taken for an answer.
    const question = this.make('position', positionId(at, lsn), {
      kind: 'asked',
      generation: 0,
      system: at.system,
      timeline: at.timeline,
      database: at.database,
      slot: '',
      publication: '',
      tables: '',
      lsn: lsnText(lsn),
    });
    const { duplicate, position } = await this.bus.publish(question);
    if (!duplicate || position === null) return null;
    const { events } = await this.bus.readPage({ after: position - 1, limit: 1 });
    const entry = events[0]?.event.data as JournalEntry | undefined;
    return entry?.kind === 'position' ? entry : null;
  }

  /** All that is remembered. Reads the whole log: for the first start, and for when something is wrong. */
  async history(): Promise<readonly JournalEntry[]> {
    const entries: JournalEntry[] = [];
    const filter = { exact: { source: this.source } };
    for await (const { event } of this.bus.read({ type: 'carillon.changes.*', filter })) {
      const entry = event.data as JournalEntry;
      if (entry.kind !== 'asked') entries.push(entry);
    }
    return entries;
  }
}

function positionId({ system, timeline }: { readonly system: string; readonly timeline: number }, lsn: Lsn): string {
  return `position:${system}:${timeline}:${lsnText(lsn)}`;
}

/** The last generation, and whether its snapshot was completed. */
export function lastGeneration(
  history: readonly JournalEntry[],
): { readonly entry: JournalEntry; readonly complete: boolean; readonly reached: Lsn } | null {
  const generation = Math.max(0, ...history.map((one) => one.generation));
  const of = history.filter((one) => one.generation === generation);
  const entry = of.find(({ kind }) => kind === 'started');
  if (entry === undefined) return null;
  const reached = of.reduce((most, { lsn }) => (lsn !== null && parseLsn(lsn) > most ? parseLsn(lsn) : most), 0n);
  return { entry, complete: of.some(({ kind }) => kind === 'snapshotted'), reached };
}
