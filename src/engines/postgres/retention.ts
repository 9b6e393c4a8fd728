import { systemClock, toError, type Clock, type Logger, type Timer } from '../../core/index.ts';
import { settledUpTo } from '../../engine/log/index.ts';
import type { Query } from '../../postgres/index.ts';
import type { ResolvedRetention } from './options.ts';
import type { Cells } from './rows.ts';

/** What retention needs of the store around it. */
export interface RetentionHost {
  readonly log: Logger;
  /** Wall time, by the clock that events are recorded with. */
  readonly now: () => number;
  rows(query: Query): Promise<readonly Cells[]>;
}

/** Between two looks at what may go, in ms; sooner when what is to go is younger. */
const CHECK_MS = 60_000;
/** The log is cut into at least so many parts, so that it exceeds what it may hold by an eighth at most. */
const PARTS = 8;

interface Segment {
  readonly no: number;
  readonly lastPosition: number;
  /** Null when it holds no event. */
  readonly newestMs: number | null;
  readonly bytes: number;
}

/**
 * Keeps the log within its bounds: drops the oldest segments, each a partition, whole. Every process does this on its own;
 * whoever comes second finds it done.
 *
 * States of a segment: `written` → (full, or an eighth of what may be kept) → `closed` → (too old, or too much, and the
 * subscriptions allow it) → dropped. A delivery that is not over keeps its event beside the log.
 */
export class PostgresRetention {
  readonly host: RetentionHost;
  readonly options: ResolvedRetention;
  readonly clock: Clock = systemClock;
  timer: Timer | null = null;
  running: Promise<void> = Promise.resolve();
  stopped = false;
  /** Subscriptions told of that hold back what should go. */
  readonly told: Set<string> = new Set();

  constructor(host: RetentionHost, options: ResolvedRetention) {
    this.host = host;
    this.options = options;
  }

  start(): void {
    if (this.stopped) return;
    const inMs = Math.min(CHECK_MS, this.options.maxAgeMs / PARTS);
    this.timer = this.clock.setTimer(inMs, () => {
      this.running = this.run().then(() => this.start());
    });
  }

  /** Resolves when nothing of it is under way. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    await this.running;
  }

  /** Never fails: what could not be removed now, because somebody is reading the log, can be the next time. */
  async run(): Promise<void> {
    try {
      await this.closeSegment(await this.segments());
      const excess = this.excess(await this.segments());
      // Places only ever rise: what allowed a segment to go goes on to allow it.
      const settled = excess.length > 0 ? await this.settled() : new Map<string, number>();
      for (const segment of excess) {
        if (!this.mayGo(segment, settled) || !(await this.remove(segment))) break;
      }
      await this.host.rows({ text: 'SELECT forget_kept()' });
    } catch (error) {
      this.host.log.warn('retention has removed nothing this time', { error: toError(error).message });
    }
  }

  async segments(): Promise<Segment[]> {
    const rows = await this.host.rows({ text: 'SELECT no, last_position, newest, bytes FROM segments_told()' });
    return rows.map(([no, last, newest, bytes]) => ({
      no: no as number,
      lastPosition: Number(last),
      newestMs: newest === null ? null : Number(newest),
      bytes: Number(bytes),
    }));
  }

  /** The one that is written to becomes one that can be removed. */
  async closeSegment(segments: readonly Segment[]): Promise<void> {
    const written = segments.at(-1);
    if (!written || written.newestMs === null) return;
    const { maxAgeMs, maxBytes } = this.options;
    const rows = await this.host.rows({
      text: 'SELECT recorded FROM events WHERE position <= $1 AND position > $2 ORDER BY position LIMIT 1',
      values: [written.lastPosition, segments.at(-2)?.lastPosition ?? 0],
    });
    const oldestMs = Number(rows[0]?.[0] ?? Infinity);
    if (written.bytes <= maxBytes / PARTS && this.host.now() - oldestMs <= maxAgeMs / PARTS) return;
    await this.host.rows({ text: 'SELECT close_segment($1)', values: [written.no] });
  }

  /** What is too old or too much, the oldest first; never the one that is written to. */
  excess(segments: readonly Segment[]): Segment[] {
    const { maxAgeMs, maxBytes } = this.options;
    let bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
    const found: Segment[] = [];
    for (const segment of segments.slice(0, -1)) {
      const young = segment.newestMs !== null && this.host.now() - segment.newestMs <= maxAgeMs;
      if (young && bytes <= maxBytes) break;
      bytes -= segment.bytes;
      found.push(segment);
    }
    return found;
  }

  /** Whether all have handled what is in it, or need not. */
  mayGo({ lastPosition }: Segment, settled: ReadonlyMap<string, number>): boolean {
    const behind = [...settled].filter(([, position]) => position < lastPosition);
    for (const name of this.told) if (!behind.some(([one]) => one === name)) this.told.delete(name);
    for (const [name, position] of behind) {
      if (this.options.unread === 'drop') {
        this.host.log.warn('retention removes what a handler has not handled', { subscription: name, position });
      } else if (!this.told.has(name)) {
        this.told.add(name);
        this.host.log.warn('retention waits for a handler that is behind', { subscription: name, position });
      }
    }
    return this.options.unread === 'drop' || behind.length === 0;
  }

  /** For each subscription the position up to which it has settled all. */
  async settled(): Promise<Map<string, number>> {
    const rows = await this.host.rows({
      text: `SELECT s.name, h.start, p.state FROM shares h JOIN subscriptions s ON s.no = h.subscription
               LEFT JOIN LATERAL (SELECT state FROM places WHERE share = h.no ORDER BY version DESC LIMIT 1) AS p ON true`,
    });
    const settled = new Map<string, number>();
    for (const [name, start, state] of rows as readonly (readonly [string, string, Uint8Array | null])[]) {
      const upTo = state === null ? Number(start) : settledUpTo(new Uint8Array(state));
      settled.set(name, Math.min(upTo, settled.get(name) ?? upTo));
    }
    return settled;
  }

  async remove({ no }: Segment): Promise<boolean> {
    const rows = await this.host.rows({ text: 'SELECT remove_segment($1)', values: [no] });
    return rows[0]?.[0] === true;
  }
}
