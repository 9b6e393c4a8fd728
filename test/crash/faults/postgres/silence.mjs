import { setTimeout as sleep } from 'node:timers/promises';
import { sharedMode, throughProxy } from '../../postgres/campaign.mjs';
import { runMs } from '../kill.mjs';

/** Longer than the server lets a transaction hold the log when its process hangs: two seconds. */
const UNREACHABLE_MS = 4_000;
/** Of the connections; every third time all of them, as when a host is cut off. */
const SHARE = 0.4;
const ALL_EVERY = 3;

/** A proxy before the server swallows what is sent on some connections, and neither side is told: as when a router forgets them. */
export const silence = sharedMode({
  ...throughProxy,
  engine: { unreachableMs: UNREACHABLE_MS },

  async cycle({ trial, proxy, random, cycle }) {
    await sleep(runMs(random, cycle));
    trial.disturbed();
    proxy.silence(cycle % ALL_EVERY === ALL_EVERY - 1 ? 1 : SHARE);
    await trial.resumed();
  },
});
