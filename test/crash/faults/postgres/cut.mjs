import { setTimeout as sleep } from 'node:timers/promises';
import { sharedMode, throughProxy } from '../../postgres/campaign.mjs';
import { between } from '../../random.mjs';
import { runMs } from '../kill.mjs';

const CUTS = [1, 6];
const PAUSE_MS = [0, 60];
/** Every so many cycles nobody gets through for a while: longer than a publish waits, and less than a lease. */
const OUTAGE_EVERY = 8;
const OUTAGE_MS = [500, 2_500];
const UNREACHABLE_MS = 1_000;

/** Connections are cut at random, in the middle of a message too, by a proxy before the server. */
export const cut = sharedMode({
  ...throughProxy,
  engine: { unreachableMs: UNREACHABLE_MS },

  async cycle({ trial, proxy, random, cycle }) {
    await sleep(runMs(random, cycle));
    trial.disturbed();
    for (let left = between(random, ...CUTS); left > 0; left--) {
      proxy.cutOne();
      await sleep(between(random, ...PAUSE_MS));
    }
    if (cycle % OUTAGE_EVERY === OUTAGE_EVERY - 1) {
      proxy.refusing = true;
      proxy.cutAll();
      await sleep(between(random, ...OUTAGE_MS));
      proxy.refusing = false;
    }
    await trial.resumed();
  },
});
