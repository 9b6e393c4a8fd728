import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for a condition, for a minute at most. @param what is said when it does not come */
export async function until(condition: () => unknown, what: () => string): Promise<void> {
  const endsMs = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() > endsMs) throw new Error(`not within a minute: ${what()}`);
    await sleep(10);
  }
}
