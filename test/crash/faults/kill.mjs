import { setTimeout as sleep } from 'node:timers/promises';
import { between } from '../random.mjs';
import { Trial } from '../trial.mjs';

const RUN_MS = [50, 300];
/** Every so many cycles one is longer: what the crashes before it cut short has then been handled, and new events are. */
const LONGER_EVERY = 5;

export function runMs(random, cycle) {
  const ms = between(random, ...RUN_MS);
  return cycle % LONGER_EVERY === 0 ? ms * LONGER_EVERY : ms;
}

/** kill -9 at a random moment. What the operating system holds survives, so this says nothing of flushes. */
export const kill = {
  needs: () => undefined,
  prepare: () => undefined,

  async trial({ directory, settings, random, cyclesMax: cycles, told }) {
    const trial = new Trial({ ...settings, directory });
    for (let cycle = 0; cycle < cycles; cycle++) {
      const life = await trial.start();
      await sleep(runMs(random, cycle));
      trial.strike(life);
      await life.kill();
      told();
    }
    return { cycles, verdict: await trial.verify() };
  },
};
