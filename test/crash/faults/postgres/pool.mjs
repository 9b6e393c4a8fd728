import { setTimeout as sleep } from 'node:timers/promises';
import { sharedMode } from '../../postgres/campaign.mjs';
import { between } from '../../random.mjs';
import { runMs } from '../kill.mjs';

const SERVER_MAX = 60;
const POOL_MAX = 14;
const FULL_MS = [200, 1_500];

/** No connections are left: the server's are all taken by others while some of ours are ended, or the application's pool is empty. */
export const pool = sharedMode({
  own: true,
  flags: ['-c', `max_connections=${SERVER_MAX}`],
  engine: { poolMax: POOL_MAX },

  async cycle({ trial, database, random, cycle }) {
    await sleep(runMs(random, cycle));
    trial.disturbed();
    if (cycle % 2 === 0) for (const life of trial.living) life.send('hog');
    else await fillServer(database, random);
    await trial.resumed();
  },
});

async function fillServer(database, random) {
  const others = await database.fill();
  try {
    const pids = await database.sessions();
    await database.terminate(pids.filter(() => random() < 0.3));
    // What was ended is taken by others too.
    others.push(...(await database.fill()));
    await sleep(between(random, ...FULL_MS));
  } finally {
    await Promise.all(others.map((client) => client.end()));
  }
}
