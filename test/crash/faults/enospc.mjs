import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { need, needRoot } from '../commands.mjs';
import { tmpfs } from '../mounts.mjs';
import { between } from '../random.mjs';
import { Trial, TrialError } from '../trial.mjs';
import { fill, free } from './ballast.mjs';

const DISK_MB = [16, 64];
/** Room enough for what was refused, and repeated since. */
const GROWN_BY_MB = 512;
const RESERVE_BYTES = 4 * 1024 * 1024;
const FULL_WITHIN_MS = 20_000;
const GOES_ON_WITHIN_MS = 5_000;
const RESUMES_WITHIN_MS = 5_000;
const AFTERWARDS_MS = 50;

/**
 * A full disk, by a ballast file or by events: publishes are refused with a retryable error, everything else goes on,
 * and once there is room publishes resume by themselves, or, in other cycles, after a kill while the disk was full.
 */
export const enospc = {
  needs() {
    needRoot('enospc');
    need(['mount', 'umount'], 'enospc');
  },
  prepare: () => undefined,

  async trial({ directory, settings, random, told }) {
    const megabytes = between(random, ...DISK_MB);
    const disk = await tmpfs(join(directory, 'disk'), megabytes).up();
    try {
      const data = join(disk.point, 'carillon');
      const trial = new Trial({ ...settings, directory: data, gated: true, reserveBytes: RESERVE_BYTES });
      const ballast = random() < 0.5 ? ballastOf(disk) : growthOf(disk, megabytes);
      await cycle(trial, ballast, random);
      told();
      return { cycles: 1, verdict: await trial.verify() };
    } finally {
      disk.undo?.();
    }
  },
};

/** Two ways to fill the disk, each with its way to get room again. */
function ballastOf({ point }) {
  const path = join(point, 'ballast');
  const fillWhileStopped = async ({ process }) => {
    // Stopped, so that the ballast does not take the reserve that the engine gives back as soon as the disk is full.
    process.kill('SIGSTOP');
    await fill(path);
    process.kill('SIGCONT');
  };
  return { fill: fillWhileStopped, free: () => free(path) };
}

function growthOf(disk, megabytes) {
  return { fill: (life) => life.send('fill'), free: () => disk.remount(`size=${megabytes + GROWN_BY_MB}M`) };
}

async function cycle(trial, ballast, random) {
  const life = await trial.start();
  await life.first(['gated'], FULL_WITHIN_MS);
  await sleep(between(random, 20, 150));
  await ballast.fill(life);
  const refused = await life.next(({ op, code }) => op === 'no' && code !== 'CARILLON_OVERLOADED', FULL_WITHIN_MS);
  if (!refused) throw new TrialError('the disk was filled, and no publish was refused');
  if (refused.code !== 'CARILLON_STORAGE_FULL')
    trial.broken(life, `a full disk was told as ${refused.code}: ${refused.message}`);
  if (!refused.retryable) trial.broken(life, 'a full disk was told by an error that is not retryable');
  await goesOn(trial, life);
  if (random() < 0.5) await resumes(trial, life, ballast);
  else await restarts(trial, life, ballast, random() < 0.5);
}

/** Reads, acknowledgements and dead letters while the disk is full. */
async function goesOn(trial, life) {
  life.send('settle');
  const settled = await life.first(['settled', 'ended'], GOES_ON_WITHIN_MS);
  if (settled?.op !== 'settled')
    trial.broken(life, 'acknowledgements and dead letters did not go on while the disk was full');
  else if (settled.read === 0) trial.broken(life, 'nothing could be read while the disk was full');
}

async function resumes(trial, life, ballast) {
  await ballast.free();
  const resumed = await life.next(({ op }) => op === 'resumed', RESUMES_WITHIN_MS);
  if (!resumed) trial.broken(life, 'publishing did not resume within 5 s of getting room');
  await sleep(AFTERWARDS_MS);
  trial.strike(life);
  await life.kill();
}

/** @param early whether the next process starts before there is room: it may work or refuse, but must say why */
async function restarts(trial, life, ballast, early) {
  trial.strike(life);
  await life.kill();
  if (early) await startWhileFull(trial);
  await ballast.free();
  const next = await trial.start();
  await sleep(AFTERWARDS_MS);
  trial.strike(next);
  await next.kill();
}

async function startWhileFull(trial) {
  const life = trial.spawn();
  const first = await life.first(['ready', 'ended'], GOES_ON_WITHIN_MS);
  if (first?.op === 'ended' && first.code !== 'CARILLON_STORAGE_FULL') {
    trial.broken(life, `starting on a full disk failed with ${first.code}: ${first.message}`);
  }
  trial.strike(life);
  await life.kill();
}
