import type { Clock } from '../core/index.ts';

/** Time in which as many deliveries must have ended as are counted in advance, in ms. */
const PROOF_MS = 250;
const GROWTH = 4;
/** Commits of the engine that may be under way or gathering while what they count runs already. */
const COMMITS_AHEAD = 4;

/**
 * How many deliveries may have their attempt counted before they are about to start. More means that a fast handler
 * never waits for the disk between two events; fewer, that a crash costs fewer of them an attempt they never made.
 *
 * It starts with what can run at once. It grows when deliveries waited to be counted although all counted before had
 * ended, and falls back to what ended within the last 250 ms.
 */
export class Pace {
  readonly clock: Clock;
  readonly least: number;
  readonly most: number;
  allowance: number;
  endedSinceCount = 0;
  endedSinceProof = 0;
  proofMs: number;

  /** @param atOnce deliveries that can run at once @param inMemory deliveries held in memory at most */
  constructor(clock: Clock, atOnce: number, inMemory: number) {
    this.clock = clock;
    this.least = atOnce;
    this.most = Math.max(atOnce, COMMITS_AHEAD * inMemory);
    this.allowance = atOnce;
    this.proofMs = clock.monotonic();
  }

  ended(count: number): void {
    this.endedSinceCount += count;
    this.endedSinceProof += count;
  }

  /** Deliveries that may be counted in advance now. */
  ahead(): number {
    const now = this.clock.monotonic();
    if (now - this.proofMs >= PROOF_MS) {
      this.allowance = Math.max(this.least, Math.min(this.allowance, this.endedSinceProof));
      this.endedSinceProof = 0;
      this.proofMs = now;
    }
    return this.allowance;
  }

  /** The same when deliveries wait for nothing but being counted. */
  aheadWhenWaiting(): number {
    const ahead = this.ahead();
    if (this.endedSinceCount >= ahead) this.allowance = Math.min(this.most, ahead * GROWTH);
    this.endedSinceCount = 0;
    return this.allowance;
  }
}
