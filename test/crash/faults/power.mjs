import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { need, needRoot } from '../commands.mjs';
import { loopMount, makeImage } from '../mounts.mjs';
import { buildShutdown } from '../native/build.mjs';
import { Trial } from '../trial.mjs';
import { runMs } from './kill.mjs';

const IMAGE_MB = 512;

/** A power cut: the file system drops all that was not flushed, and what it had flushed is found again by a new mount. */
export const power = {
  needs() {
    needRoot('power');
    need(['mount', 'umount', 'losetup', 'mkfs.ext4', 'truncate'], 'power');
  },

  prepare: async (scratch) => ({ shutDown: await buildShutdown(scratch) }),

  async trial({ directory, settings, random, cyclesMax: cycles, tools, told }) {
    const image = join(directory, 'disk.img');
    await makeImage(image, IMAGE_MB);
    const disk = await loopMount(image, join(directory, 'disk')).up();
    try {
      const trial = new Trial({ ...settings, directory: join(disk.point, 'carillon') });
      for (let cycle = 0; cycle < cycles; cycle++) {
        const life = await trial.start();
        await sleep(runMs(random, cycle));
        trial.strike(life);
        const cut = await tools.shutDown(disk.point);
        await life.kill();
        trial.forget(life, cut);
        await disk.down();
        await disk.up();
        told();
      }
      return { cycles, verdict: await trial.verify() };
    } finally {
      disk.undo?.();
    }
  },
};
