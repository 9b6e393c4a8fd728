import { systemClock, type Clock, type Timer } from '../core/index.ts';

/**
 * A clock that stands still until it is told to go on. Nothing waits for real time, so nothing is decided by it.
 *
 * Timers fire in order of their due moment while {@link FakeClock.advance} passes it. Deferred calls are not faked:
 * they run on the next real turn of the event loop, so that engines with worker threads, files and sockets can answer
 * between two turns.
 */
export interface FakeClock extends Clock {
  /**
   * Goes on by `ms`: each timer due on the way runs at its own moment, and everything it leads to settles before the
   * next one runs.
   */
  advance(ms: number): Promise<void>;
  /** Goes on to the next timer if it is due within `maxMs`, runs it and settles; whether there was one. */
  advanceToNext(maxMs?: number): Promise<boolean>;
  /**
   * Resolves when everything that can happen without time passing has happened: no deferred call is left, and nobody
   * has used the clock for a few turns. A turn is one of the event loop, and what the clock's maker added to it.
   * Never: waits for work that neither uses the clock nor belongs to a turn. Wait for its outcome instead.
   */
  settle(): Promise<void>;
  /** Timers not yet due. */
  readonly timers: number;
  /** Forgets all timers and deferred calls, as the end of a process does. Time stays. */
  reset(): void;
}

export interface FakeClockOptions {
  /** Awaited with every turn: an engine with a worker thread gives a round trip to it, so that its answers are in. */
  readonly turn?: () => Promise<void>;
}

/** 2026-01-01T00:00:00Z */
const START_MS = 1_767_225_600_000;
/** Turns in which nothing happens before everything has settled: more than one, as promise chains span turns. */
const QUIET_TURNS = 3;
/** Turns after which something must be going round in circles. */
const TURNS_MAX = 1_000_000;

/** One real turn of the event loop. */
export function realTurn(): Promise<void> {
  return new Promise((resolve) => systemClock.defer(resolve));
}

interface Pending {
  readonly dueMs: number;
  readonly run: () => void;
}

class SteppedClock implements FakeClock {
  nowMs: number;
  readonly startMs: number;
  readonly turn: () => Promise<void>;
  pending: Set<Pending> = new Set();
  deferred = 0;
  /** Rises with every use of the clock. */
  uses = 0;
  /** Rises with every reset: deferred calls of an earlier life are dropped. */
  life = 0;

  constructor(startMs: number, turn: () => Promise<void>) {
    this.nowMs = startMs;
    this.startMs = startMs;
    this.turn = turn;
  }

  get timers(): number {
    return this.pending.size;
  }

  now(): number {
    this.uses++;
    return this.nowMs;
  }

  monotonic(): number {
    this.uses++;
    return this.nowMs - this.startMs;
  }

  setTimer(delayMs: number, run: () => void): Timer {
    this.uses++;
    const timer = { dueMs: this.nowMs + Math.max(0, delayMs), run };
    this.pending.add(timer);
    return { cancel: () => void this.pending.delete(timer) };
  }

  defer(run: () => void): void {
    this.uses++;
    this.deferred++;
    const { life } = this;
    systemClock.defer(() => {
      if (life !== this.life) return;
      this.deferred--;
      run();
    });
  }

  async settle(): Promise<void> {
    let quiet = 0;
    for (let turns = 0; quiet < QUIET_TURNS; turns++) {
      if (turns > TURNS_MAX)
        throw new Error('the fake clock never settles: something asks it for the time without end');
      const before = this.uses;
      await realTurn();
      await this.turn();
      quiet = this.uses === before && this.deferred === 0 ? quiet + 1 : 0;
    }
  }

  async advance(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    await this.settle();
    while (await this.runNext(untilMs));
    this.nowMs = untilMs;
  }

  async advanceToNext(maxMs: number = Infinity): Promise<boolean> {
    await this.settle();
    return this.runNext(this.nowMs + maxMs);
  }

  async runNext(untilMs: number): Promise<boolean> {
    let next: Pending | undefined;
    // In order of insertion, so that of two due at once the one set first runs first.
    for (const timer of this.pending) if (!next || timer.dueMs < next.dueMs) next = timer;
    if (!next || next.dueMs > untilMs) return false;
    this.pending.delete(next);
    this.nowMs = Math.max(this.nowMs, next.dueMs);
    next.run();
    await this.settle();
    return true;
  }

  reset(): void {
    this.life++;
    this.deferred = 0;
    this.pending.clear();
  }
}

/** @param startMs where it stands at first, ms since the Unix epoch; default the start of 2026, UTC */
export function fakeClock(startMs: number = START_MS, { turn }: FakeClockOptions = {}): FakeClock {
  return new SteppedClock(startMs, turn ?? (() => Promise.resolve()));
}
