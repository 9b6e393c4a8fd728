// What a run needs before it can begin: the peers installed, and dist/ built. Uses Node built-ins only.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('..', import.meta.url));
const stampFile = join(here, 'node_modules', '.carillon-installed');
const digestOf = (file) => createHash('sha256').update(readFileSync(file)).digest('hex');

function runOrThrow(what, command, args, options) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', ...options });
  if (status !== 0) throw new Error(`${what} failed.\n${error?.message ?? `${stdout}\n${stderr}`.trim()}`);
}

/** Installs the peers into bench/node_modules, unless what the lockfile names is there. None of them needs its scripts. */
export function installPeers() {
  const digest = digestOf(join(here, 'package-lock.json'));
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === digest) return;
  console.error('Installing the peers into bench/ (once)');
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund'];
  const npm = process.env.npm_execpath;
  if (npm && /npm-cli\.c?js$/.test(npm))
    runOrThrow('npm ci in bench/', process.execPath, [npm, ...args], { cwd: here });
  else runOrThrow('npm ci in bench/', 'npm', args, { cwd: here, shell: process.platform === 'win32' });
  writeFileSync(stampFile, digest);
}

/** Builds dist/ when the sources have changed since. */
export function buildCarillon() {
  const build = join(root, 'scripts', 'build.mjs');
  runOrThrow('The build of carillon', process.execPath, [build, '--if-stale'], { cwd: root });
}
