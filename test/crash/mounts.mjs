import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { run } from './commands.mjs';
import { undoAtEnd } from './cleanup.mjs';

const UNMOUNT = 'umount';

/** A file system mounted for this run; unmounted however the run ends. A loop device goes with its mount. */
export class Mount {
  constructor(source, point, options, type) {
    this.source = source;
    this.point = point;
    this.options = options;
    this.type = type;
    this.undo = null;
    mkdirSync(point, { recursive: true });
  }

  async up() {
    const type = this.type ? ['-t', this.type] : [];
    await run('mount', [...type, '-o', this.options, this.source, this.point]);
    // Lazily, because a process that is about to end may still be in it.
    this.undo = undoAtEnd(() => spawnSync(UNMOUNT, ['-l', this.point]));
    return this;
  }

  async remount(options) {
    await run('mount', ['-o', `remount,${options}`, this.point]);
  }

  async down() {
    await run(UNMOUNT, [this.point]);
    this.undo = null;
  }
}

export const tmpfs = (point, megabytes) => new Mount('tmpfs', point, `size=${megabytes}M`, 'tmpfs');

export const loopMount = (image, point, options = '') => new Mount(image, point, options ? `loop,${options}` : 'loop');

/** A sparse image with an ext4 file system in it. */
export async function makeImage(image, megabytes, options = []) {
  await run('truncate', ['-s', `${megabytes}M`, image]);
  await run('mkfs.ext4', ['-q', '-F', ...options, image]);
}
