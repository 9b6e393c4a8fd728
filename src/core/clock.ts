/**
 * The only way the bus learns the time or waits: production hands in {@link systemClock}, tests a fake one, so that
 * no test is ever decided by timing.
 */
export interface Clock {
  /** Wall time, in milliseconds since the Unix epoch. May jump when the machine's clock is set. */
  now(): number;
  /** Monotonic milliseconds from an arbitrary start: for durations. Never jumps back. */
  monotonic(): number;
  /** Calls `run` once after `delayMs`. Delays past 2^31-1 ms are waited for in steps. */
  setTimer(delayMs: number, run: () => void): Timer;
  /** Calls `run` on the next turn of the event loop, after the I/O that is ready. */
  defer(run: () => void): void;
}

/** A pending call made by {@link Clock.setTimer}. */
export interface Timer {
  /** Forgets the call. Harmless once it has been made. */
  cancel(): void;
}

/** The longest delay setTimeout takes; a longer one fires at once, so it is split. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

function setLongTimer(delayMs: number, run: () => void): Timer {
  let handle: ReturnType<typeof setTimeout>;
  const arm = (leftMs: number): void => {
    const stepMs = Math.min(leftMs, LONGEST_TIMEOUT_MS);
    handle = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : run()), stepMs);
  };
  arm(Math.max(0, delayMs));
  return { cancel: () => clearTimeout(handle) };
}

interface ImmediateScope {
  setImmediate?: (run: () => void) => unknown;
}

/** setImmediate where there is one (Node); elsewhere a zero timer keeps the same meaning, later. */
const immediate = (globalThis as ImmediateScope).setImmediate;

/** The machine's own clock and timers. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer: setLongTimer,
  defer: immediate ? (run) => void immediate(run) : (run) => void setTimeout(run, 0),
};
