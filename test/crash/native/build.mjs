import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isThere, MissingError, run } from '../commands.mjs';

const sourceOf = (name) => fileURLToPath(new URL(`${name}.c`, import.meta.url));

/** Builds the shim that makes a flush fail. Returns null where there is no compiler. */
export async function buildShim(directory) {
  if (!isThere('gcc')) return null;
  const shim = join(directory, 'fsync-shim.so');
  await run('gcc', ['-shared', '-fPIC', '-O2', '-o', shim, sourceOf('fsync-shim'), '-ldl']);
  return shim;
}

const IOCTL = `import fcntl, os, struct, sys, time
directory = os.open(sys.argv[1], os.O_RDONLY)
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO)))
before = time.monotonic_ns() // 1000
fcntl.ioctl(directory, 0x8004587d, struct.pack('I', 2))
print(before, time.monotonic_ns() // 1000)`;

const momentsIn = (text) => text.trim().split(' ').map(Number);

/** What cuts the power of the file system a directory lies on, and tells the moments before and after, in µs. */
export async function buildShutdown(directory) {
  if (isThere('gcc')) {
    const program = join(directory, 'shutdown-fs');
    await run('gcc', ['-O2', '-o', program, sourceOf('shutdown-fs')]);
    return async (point) => momentsIn(await run(program, [point]));
  }
  if (isThere('python3')) return async (point) => momentsIn(await run('python3', ['-c', IOCTL, point]));
  throw new MissingError('the mode "power" needs gcc or python3 to shut a file system down, and neither is here');
}
