import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { connect, type DatabaseConfig } from './database-config.ts';

/**
 * The one connection on which a job's attempt works outside of the handler's transaction: in the manager's own database,
 * with the job's lock held by its session.
 *
 * States: `open` → `closed`, by us, or because the attempt's time is up; `open` → `lost`, when the server ends it or a later
 * attempt does. A workplace is never opened again within an attempt. So nothing of an attempt that lost its workplace
 * reaches the server any more, and what its last statement still does there ends before the next attempt begins.
 */
export interface Workplace {
  readonly client: pg.Client;
  close(): Promise<void>;
}

/** How long the session of an earlier attempt may take to end. */
const TAKE_OVER_MS = 30_000;
const TAKE_OVER_PAUSE_MS = 20;

/**
 * Ends the sessions that hold a lock: only a dead or hanging attempt of this job can, for the bus gives a delivery to one
 * process at a time.
 */
const END_HOLDERS = `
  SELECT pg_terminate_backend(pid) FROM pg_locks, hashtextextended($1, 0) AS key
   WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid <> pg_backend_pid()
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
     AND classid::bigint = ((key >> 32) & 4294967295) AND objid::bigint = (key & 4294967295)`;

/** Opens the workplace of a job. An earlier attempt that still has it is thrown out first. */
export async function openWorkplace(config: DatabaseConfig, job: string, signal: AbortSignal): Promise<Workplace> {
  const client = await connect(config);
  // With a statement under way this breaks the connection off.
  const close = (): Promise<void> => client.end();
  const onAbort = (): void => void close();
  signal.addEventListener('abort', onAbort, { once: true });
  const workplace = {
    client,
    close: async () => {
      signal.removeEventListener('abort', onAbort);
      if (!signal.aborted) await close();
    },
  };
  try {
    const endsMs = performance.now() + TAKE_OVER_MS;
    while (!(await lock(client, job))) {
      if (performance.now() > endsMs) throw new Error(`the session of an earlier attempt at ${job} does not end`);
      await client.query(END_HOLDERS, [job]);
      await sleep(TAKE_OVER_PAUSE_MS, undefined, { signal });
    }
    return workplace;
  } catch (error) {
    await workplace.close();
    throw error;
  }
}

async function lock(client: pg.Client, job: string): Promise<boolean> {
  const { rows } = await client.query<{ held: boolean }>(
    'SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS held',
    [job],
  );
  return rows[0]?.held === true;
}
