// What the figures were measured on. Names nothing that would tell whose machine it is.
import { execFileSync } from 'node:child_process';
import { readFileSync, statfsSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { fileURLToPath } from 'node:url';

const fileSystems = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x2fc12fc1, 'zfs'],
  [0x794c7630, 'overlayfs'],
  [0x01021994, 'tmpfs'],
  [0x6969, 'nfs'],
  [0x1a, 'apfs'],
]);

/** The file system that the benchmarks write to. On tmpfs an fsync does nothing, and the figures mean nothing. */
export function fileSystemOf(directory) {
  const code = statfsSync(directory).type;
  return fileSystems.get(code) ?? `0x${code.toString(16)}`;
}

const spent = () =>
  cpus().reduce(
    (sum, { times }) => {
      const all = times.user + times.nice + times.sys + times.irq + times.idle;
      return { all: sum.all + all, idle: sum.idle + times.idle };
    },
    { all: 0, idle: 0 },
  );

/** Which part of all cores was busy while nothing of ours ran: what else the machine does, told with each run. */
export async function busyBefore() {
  const before = spent();
  await new Promise((resolve) => setTimeout(resolve, 300));
  const after = spent();
  const all = after.all - before.all;
  return all === 0 ? 0 : Math.round((1 - (after.idle - before.idle) / all) * 100) / 100;
}

export function machine() {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    system: `${type()} ${/^\d+\.\d+/.exec(release())?.[0] ?? ''}`.trim(),
    fileSystem: fileSystemOf(fileURLToPath(new URL('.', import.meta.url))),
    node: process.versions.node,
  };
}

const readJson = (url) => JSON.parse(readFileSync(url, 'utf8'));

export function versionOf(name) {
  return readJson(new URL(`node_modules/${name}/package.json`, import.meta.url)).version;
}

/** Carillon's version, and the commit where git can tell. */
export function carillonVersion() {
  const { version } = readJson(new URL('../package.json', import.meta.url));
  const git = (...args) =>
    execFileSync('git', args, {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .toString()
      .trim();
  try {
    const changed = git('status', '--porcelain', '--', 'src') === '' ? '' : ' with changes';
    return `${version} (${git('rev-parse', '--short', 'HEAD')}${changed})`;
  } catch {
    return version;
  }
}
