import { toError, type Timer } from '../../core/index.ts';
import { eventOf } from './rows.ts';
import type { ScheduledRow } from './stored.ts';
import type { LogWriter } from './writer.ts';

/**
 * Moves scheduled events into the log when they are due (G10). Removing one from the schedule and appending it is one
 * commit, so that each fires once, whatever is killed. What came due while the process was down is appended at the
 * next start, the earliest first.
 *
 * States: `waiting` for the next due moment (a timer is set when there is one) → `moving` what is due, a page at a
 * time → `waiting`; `stopped`.
 */
const PAGE = 500;
/** Before another try after the storage refused: it may be full. */
const RETRY_MS = 1000;

export class Schedule {
  readonly writer: LogWriter;
  nextMs: number | null;
  timer: Timer | null = null;
  moving = false;
  stopped = false;

  constructor(writer: LogWriter, nextMs: number | null) {
    this.writer = writer;
    this.nextMs = nextMs;
    this.setTimer();
  }

  /** An event was scheduled. */
  expect(dueMs: number): void {
    if (this.nextMs !== null && this.nextMs <= dueMs) return;
    this.nextMs = dueMs;
    this.setTimer();
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  setTimer(): void {
    this.timer?.cancel();
    this.timer = null;
    if (this.nextMs === null || this.stopped || this.moving) return;
    const { clock } = this.writer;
    const waitMs = this.nextMs - clock.now();
    // Another process may have scheduled what is due here by now.
    if (waitMs <= 0) clock.defer(() => void this.moveDue());
    else this.timer = clock.setTimer(waitMs, () => void this.moveDue());
  }

  async moveDue(): Promise<void> {
    if (this.moving || this.stopped) return;
    this.moving = true;
    try {
      for (;;) {
        // What is scheduled from here on sets `nextMs` itself.
        this.nextMs = null;
        const { due, nextMs } = await this.writer.store.readDue(this.writer.clock.now(), PAGE);
        await Promise.all(due.map((row) => this.move(row)));
        if (due.length < PAGE) {
          if (nextMs !== null) this.nextMs = Math.min(nextMs, this.nextMs ?? nextMs);
          break;
        }
      }
    } catch (thrown) {
      if (this.stopped || this.writer.failure) return;
      this.writer.host.log.warn('scheduled events could not be appended yet', { error: toError(thrown).message });
      this.nextMs = this.writer.clock.now() + RETRY_MS;
    } finally {
      this.moving = false;
      this.setTimer();
    }
  }

  async move({ no, event }: ScheduledRow): Promise<void> {
    await this.writer.appendScheduled(no, { event: eventOf(event), data: event.data });
  }
}
