import type { Clock, Timer } from '../core/index.ts';

/** A clock as one of several processes sees it: once that is killed, its timers and deferred calls never come. */
export class ProcessClock implements Clock {
  readonly base: Clock;
  alive = true;

  constructor(base: Clock) {
    this.base = base;
  }

  now(): number {
    return this.base.now();
  }

  monotonic(): number {
    return this.base.monotonic();
  }

  setTimer(delayMs: number, run: () => void): Timer {
    return this.base.setTimer(delayMs, () => this.alive && run());
  }

  defer(run: () => void): void {
    this.base.defer(() => this.alive && run());
  }
}
