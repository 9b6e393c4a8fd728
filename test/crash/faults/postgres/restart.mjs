import { setTimeout as sleep } from 'node:timers/promises';
import { sharedMode } from '../../postgres/campaign.mjs';
import { between } from '../../random.mjs';
import { runMs } from '../kill.mjs';

const DOWN_MS = [0, 800];

/** The server is stopped as by a crash (`immediate`), and started again, while the processes go on. */
export const restart = sharedMode({
  own: true,
  async cycle({ trial, host, random, cycle }) {
    await sleep(runMs(random, cycle));
    trial.disturbed();
    await host.server.stop('immediate');
    await sleep(between(random, ...DOWN_MS));
    await host.server.start();
    await trial.resumed();
  },
});
