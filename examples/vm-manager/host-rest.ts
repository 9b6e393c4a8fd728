import type { Clock } from 'carillon';

/**
 * Leaves a host alone that keeps failing: after so many failed starts in a row, of whatever machines, no start is tried
 * for a while; then one is.
 *
 * States: `working` → (failures) → `resting` → (time) → `working` with one failure to go. A success forgets all failures.
 */
export interface HostRest {
  /** How long to leave the host alone from now on, in ms; 0 when it may be tried. */
  remainingMs(): number;
  succeeded(): void;
  failed(): void;
}

const FAILURES = 5;
const REST_MS = 5_000;

export function hostRest(clock: Clock): HostRest {
  let failures = 0;
  let untilMs = 0;
  return {
    remainingMs: () => Math.max(0, untilMs - clock.monotonic()),
    succeeded: () => {
      failures = 0;
    },
    failed: () => {
      failures++;
      if (failures < FAILURES) return;
      failures = FAILURES - 1;
      untilMs = clock.monotonic() + REST_MS;
    },
  };
}
