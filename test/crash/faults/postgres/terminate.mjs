import { setTimeout as sleep } from 'node:timers/promises';
import { sharedMode } from '../../postgres/campaign.mjs';
import { between } from '../../random.mjs';
import { runMs } from '../kill.mjs';

const COMMITTING_WITHIN_MS = 2_000;

/**
 * Sessions are ended by the server. Every second time those that are in COMMIT: they are made to wait there for a standby
 * that does not exist. Such a commit has been made, and nobody is told.
 */
export const terminate = sharedMode({
  own: true,
  async cycle({ trial, database, random, cycle }) {
    await sleep(runMs(random, cycle));
    trial.disturbed();
    if (cycle % 2 === 0) await database.terminate(some(await database.sessions(), random));
    else await terminateCommitting(trial, database, random);
    await trial.resumed();
  },
});

async function terminateCommitting(trial, database, random) {
  await setStandby(database, 'nobody');
  try {
    const committing = `wait_event = 'SyncRep'`;
    const found = await database.wait(
      `EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND ${committing})`,
      [],
      COMMITTING_WITHIN_MS,
    );
    if (found === null) trial.history.note(-1, { op: 'none-committing' });
    await database.terminate(some(await database.sessions(committing), random));
  } finally {
    await setStandby(database, '');
  }
}

async function setStandby(database, name) {
  await database.admin.query(`ALTER SYSTEM SET synchronous_standby_names = '${name}'`);
  await database.admin.query('SELECT pg_reload_conf()');
}

function some(pids, random) {
  if (pids.length === 0) return [];
  const shuffled = pids.map((pid) => ({ pid, at: random() })).sort((a, b) => a.at - b.at);
  return shuffled.slice(0, between(random, 1, pids.length)).map(({ pid }) => pid);
}
