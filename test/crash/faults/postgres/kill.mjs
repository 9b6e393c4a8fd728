import { setTimeout as sleep } from 'node:timers/promises';
import { sharedMode } from '../../postgres/campaign.mjs';
import { runMs } from '../kill.mjs';

/** A process that is gone is replaced by the others within seconds; the machine may be busy. */
const HANDED_OVER_WITHIN_MS = 20_000;
/** One that hangs, when its lease is over. */
const FENCED_WITHIN_MS = 20_000;
const JOINS_WITHIN_MS = 20_000;
/** By then the others have begun to handle what it had. */
const HANGS_ON_MS = 200;
const WATCHED_EVERY = 5;
const WATCHED_AT = 2;
/** Of the cycles that are not watched: shares of those in which a process takes leave, and in which one hangs. */
const LEAVES = 0.15;
const HANGS = 0.15;

/** kill -9 of one of several processes at a random moment; some take leave instead, and some hang until the others have replaced them. */
export const kill = sharedMode({
  async cycle({ trial, database, random, cycle, settings: { hangs = HANGS } }) {
    await sleep(runMs(random, cycle));
    const life = trial.any(random);
    const chance = random();
    if (cycle % WATCHED_EVERY === WATCHED_AT) await killWatched(trial, database, life);
    else if (chance < hangs) return hang(trial, database, life);
    else if (chance < hangs + LEAVES) await trial.leave(life);
    else await trial.kill(life);
    await trial.start();
  },
});

/** Not replaced until the others have all that it had. */
async function killWatched(trial, database, life) {
  const { pid } = life.process;
  await trial.kill(life);
  const ms = await database.handedOver(pid, HANDED_OVER_WITHIN_MS);
  if (ms === null) trial.broken(life, `what a killed process had is handed over within ${HANDED_OVER_WITHIN_MS} ms`);
  trial.history.note(life.no, { op: 'handed-over', ms });
  await trial.resumed();
}

async function hang(trial, database, life) {
  // One that was replaced a moment ago has to be there again before it can be replaced.
  const joined = await database.isMember(life.process.pid, JOINS_WITHIN_MS);
  if (joined === null) trial.broken(life, `a process that was replaced joins anew within ${JOINS_WITHIN_MS} ms`);
  await trial.pause(life);
  const ms = await database.isGone(life.process.pid, FENCED_WITHIN_MS);
  if (ms === null) trial.broken(life, `a process that hangs is replaced within ${FENCED_WITHIN_MS} ms`);
  trial.history.note(life.no, { op: 'replaced', ms });
  await sleep(HANGS_ON_MS);
  trial.resume(life);
  await trial.resumed();
}
