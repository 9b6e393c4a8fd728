import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isThere, MissingError } from '../commands.mjs';
import { loopMount, makeImage, tmpfs } from '../mounts.mjs';
import { buildShim } from '../native/build.mjs';
import { between } from '../random.mjs';
import { Trial, TrialError } from '../trial.mjs';

const CYCLES_PER_TRIAL = 9;
/** The call that fails: from the first ones of opening to some hundred commits later. */
const FAIL_AT = [1, 150];
const FAULT_WITHIN_MS = 5_000;
const FAILS_WITHIN_MS = 1_500;
/** How long a failed engine is asked to publish on. */
const AFTERWARDS_MS = 150;

const BACKING_MB = 24;
const IMAGE_MB = 256;
const GROWN_MB = 2 * IMAGE_MB;
/** Little is laid out in advance, so that a small backing store holds the file system. */
const LAZY = ['-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard', '-J', 'size=4'];

/**
 * A flush that fails: the engine must fail with it, and no later flush may be believed. By a shim around fsync and
 * fdatasync; as root every tenth cycle by the kernel itself, which then drops the data ("fsyncgate").
 */
export const eio = {
  needs() {
    if (!isThere('gcc') && !isThere('strace')) {
      throw new MissingError('the mode "eio" needs gcc, or else strace, to make a flush fail, and neither is here');
    }
  },

  prepare: async (scratch) => ({ shim: await buildShim(scratch) }),

  trial(context) {
    const isTenth = context.cyclesDone % (CYCLES_PER_TRIAL + 1) === CYCLES_PER_TRIAL;
    return isTenth && process.getuid?.() === 0 && isThere('mkfs.ext4') ? byKernel(context) : byShim(context);
  },
};

async function byShim({ directory, settings, random, cyclesMax, tools, told }) {
  const trial = new Trial({ ...settings, directory });
  const cycles = Math.min(cyclesMax, CYCLES_PER_TRIAL);
  for (let cycle = 0; cycle < cycles; cycle++) {
    const life = trial.spawn(failing(tools.shim, between(random, ...FAIL_AT)));
    await failed(trial, life, FAULT_WITHIN_MS);
    told();
  }
  return { cycles, verdict: await trial.verify() };
}

function failing(shim, failAt) {
  if (shim) return { env: { LD_PRELOAD: shim, FAIL_AT: String(failAt) } };
  const inject = `inject=fsync,fdatasync:error=EIO:when=${failAt}`;
  const strace = ['strace', '-f', '-o', '/dev/null', '-e', 'trace=fsync,fdatasync', '-e', inject];
  return { wrap: (command) => [...strace, ...command] };
}

/** Waits for the fault, then for the engine to fail of it, lets the process try on for a while, and kills it. */
async function failed(trial, life, faultWithinMs) {
  const ends = ['engine-failed', 'ended'];
  const fault = await life.first(['fault', ...ends], faultWithinMs);
  if (fault && (await life.first(ends, FAILS_WITHIN_MS))) await sleep(AFTERWARDS_MS);
  const ended = life.seen.get('ended');
  if (ended && ended.code !== 'CARILLON_ENGINE_FAILED') {
    trial.broken(life, `a flush that failed while opening was told as ${ended.code}: ${ended.message}`);
  }
  trial.strike(life);
  await life.kill();
  return fault !== null;
}

async function byKernel({ directory, settings, told }) {
  const backing = await tmpfs(join(directory, 'backing'), BACKING_MB).up();
  const image = join(backing.point, 'disk.img');
  await makeImage(image, IMAGE_MB, LAZY);
  const disk = await loopMount(image, join(directory, 'disk'), 'errors=continue').up();
  try {
    const trial = new Trial({
      ...settings,
      directory: join(disk.point, 'carillon'),
      reserveBytes: 64 * 1024,
      scale: 20,
    });
    const faulty = await failed(trial, await trial.start({ pace: 0.2 }), 4 * FAULT_WITHIN_MS);
    if (!faulty) throw new TrialError('the backing store was to run full, and no flush failed');
    await disk.down();
    // Room again; what the kernel could not write stays lost.
    await backing.remount(`size=${GROWN_MB}M`);
    await disk.up();
    told();
    return { cycles: 1, verdict: await trial.verify() };
  } finally {
    disk.undo?.();
    backing.undo?.();
  }
}
