import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';

const PATIENCE_MS = 30_000;
const LOOK_MS = 5;

/**
 * Resolves once the condition holds; fails, and says what was waited for, when it does not in time.
 * @param what as a function: told as things stand at the end
 */
export async function until(
  condition: () => unknown,
  what: string | (() => string),
  patienceMs: number = PATIENCE_MS,
): Promise<void> {
  const endsAt = performance.now() + patienceMs;
  while (!(await condition())) {
    if (performance.now() > endsAt) {
      const told = typeof what === 'string' ? what : what();
      throw new Error(`waited ${patienceMs} ms in vain: ${told}`);
    }
    await sleep(LOOK_MS);
  }
}

/** The same with a minute's patience: for what connects again, with pauses, in between. */
export function untilWithinAMinute(condition: () => unknown, what: () => string): Promise<void> {
  return until(condition, what, 60_000);
}

/** The server's process of a connection. */
export async function processOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  return rows[0]?.pid as number;
}

/** Resolves once that process waits for a lock of another's. */
export async function untilBlocked(watcher: pg.Client, processId: number): Promise<void> {
  await until(async () => {
    const { rows } = await watcher.query('SELECT FROM pg_locks WHERE pid = $1 AND NOT granted', [processId]);
    return rows.length > 0;
  }, `process ${processId} of the server to wait for a lock`);
}
