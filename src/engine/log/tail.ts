import { fifo, type Fifo } from '../../core/index.ts';
import { recentEvents, type RecentEvents } from './recent-events.ts';
import type { FreshRow } from './rows.ts';
import type { Sight } from './sharing.ts';
import type { LogStore } from './store.ts';

/**
 * The end of the log as this process knows it. What it appends itself it need not read; where the log is shared, what
 * others have appended in between is read once, for all subscriptions, and the own events wait for it: so every
 * subscription meets all events in order of position.
 *
 * States: `level` (all up to `last` is known) ⇄ `reading` (others have appended; own events committed after theirs wait).
 * Too far behind, it reads nothing and only notes how long the log is: subscriptions that are behind read for themselves.
 */

/** Rows read at a time. */
const PAGE = 1024;
/** Positions behind which reading for everybody is given up: about what is kept in memory. */
const BEHIND_MAX = 8192;

/** What the tail needs of the writer it belongs to. */
export interface TailHost {
  readonly store: LogStore;
  /** Whether some subscription still reads from the events kept in memory. */
  keepRecent(): boolean;
  /** `last` has risen. */
  grew(): void;
  fail(error: unknown): void;
}

interface Own {
  readonly rows: readonly FreshRow[];
  readonly before: number;
}

export class LogTail {
  readonly host: TailHost;
  readonly recent: RecentEvents;
  last: number;
  /** The longest that the log is known to be. */
  known: number;
  /** Retention has removed the positions up to this one, as of the last look. */
  removed = 0;
  waiting: Fifo<Own> = fifo();
  reading = false;

  constructor(host: TailHost, last: number) {
    this.host = host;
    this.last = last;
    this.known = last;
    this.recent = recentEvents(last);
  }

  /**
   * This process has appended events, which have their positions already.
   * @param before the last position before theirs; null where nobody else appends
   */
  took(rows: readonly FreshRow[], before: number | null): void {
    const newest = rows.at(-1);
    if (!newest) return;
    this.known = Math.max(this.known, newest.position);
    if (!this.reading && (before === null || before <= this.last)) return this.add(rows);
    this.waiting.push({ rows, before: before ?? this.last });
    this.read();
  }

  /** How far the log reaches, and from where. */
  saw({ last, removed }: Pick<Sight, 'last' | 'removed'>): void {
    this.removed = Math.max(this.removed, removed);
    this.heard(last);
  }

  /** The log is said to reach this position. */
  heard(position: number): void {
    if (position <= this.known) return;
    this.known = position;
    this.read();
  }

  add(rows: readonly FreshRow[]): void {
    const wanted = this.host.keepRecent();
    for (const row of rows) {
      // Read meanwhile with those of others.
      if (row.position <= this.last) continue;
      this.last = row.position;
      if (wanted) this.recent.add(row);
    }
    if (!wanted) this.recent.drop(this.last);
    this.host.grew();
  }

  read(): void {
    if (this.reading) return;
    this.reading = true;
    this.readAll().then(
      () => (this.reading = false),
      (error: unknown) => {
        this.reading = false;
        this.host.fail(error);
      },
    );
  }

  async readAll(): Promise<void> {
    for (;;) {
      const own = this.waiting.peek();
      const upTo = own ? own.before : this.known;
      if (this.last < upTo) await this.readUpTo(upTo);
      else if (own) {
        this.waiting.shift();
        this.add(own.rows);
      } else return;
    }
  }

  async readUpTo(upTo: number): Promise<void> {
    if (upTo - this.last > BEHIND_MAX || !this.host.keepRecent()) {
      this.last = upTo;
      this.recent.drop(upTo);
      return this.host.grew();
    }
    const after = this.last;
    const { rows, scannedTo } = await this.host.store.read({ after, upTo, limit: PAGE, scanMax: BEHIND_MAX });
    for (const row of rows) this.recent.add({ ...row, fresh: null });
    this.last = Math.max(this.last, scannedTo);
    this.host.grew();
  }
}
