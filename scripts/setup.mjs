// Makes a fresh clone runnable: installs the dependencies and builds dist/, each only when needed.
// Uses Node built-ins only, because a fresh clone has nothing else.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const lockfile = join(root, 'package-lock.json');
const stampFile = join(root, 'node_modules', '.carillon-installed');
const nodeVersionMin = [20, 19];

/** Something the reader can put right; its message is shown without a stack. */
export class SetupError extends Error {}

function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [majorMin, minorMin] = nodeVersionMin;
  if (major > majorMin || (major === majorMin && minor >= minorMin)) return;
  throw new SetupError(
    `Carillon needs Node ${majorMin}.${minorMin} or newer; this is Node ${process.versions.node} (${process.execPath}).`,
  );
}

const modifiedMs = async (path) => (await stat(path).catch(() => undefined))?.mtimeMs ?? 0;

async function digestOfLockfile() {
  return createHash('sha256')
    .update(await readFile(lockfile))
    .digest('hex');
}

async function isInstalled() {
  const stamp = await readFile(stampFile, 'utf8').catch(() => '');
  const digest = await digestOfLockfile();
  if (stamp === digest) return true;
  // npm leaves this file behind when it installs; newer than the lockfile means somebody ran it by hand.
  const byHand = await modifiedMs(join(root, 'node_modules', '.package-lock.json'));
  if (byHand <= Math.max(await modifiedMs(lockfile), await modifiedMs(stampFile))) return false;
  await writeFile(stampFile, digest);
  return true;
}

/** Runs a program to its end and passes a signal that reaches this process on to it. */
function run(command, args, { shell = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, shell, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk) => (output += chunk);
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const forward = (signal) => {
      child.kill(signal);
      process.exit(128 + constants.signals[signal]);
    };
    process.on('SIGINT', forward).on('SIGTERM', forward);
    const settle = () => process.off('SIGINT', forward).off('SIGTERM', forward);
    child.on('error', (error) => {
      settle();
      reject(error);
    });
    child.on('close', (code) => {
      settle();
      resolve({ code, output });
    });
  });
}

async function install() {
  const args = ['ci', '--no-audit', '--no-fund', '--include=dev', '--prefer-offline'];
  const npm = process.env.npm_execpath;
  const { code, output } =
    npm && /npm-cli\.c?js$/.test(npm)
      ? await run(process.execPath, [npm, ...args])
      : await run('npm', args, { shell: process.platform === 'win32' }).catch((error) => {
          if (error.code === 'ENOENT') throw new SetupError('npm was not found on the PATH; it comes with Node.');
          throw error;
        });
  if (code === 0) return writeFile(stampFile, await digestOfLockfile());
  const offline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED|EHOSTUNREACH/.test(
    output,
  );
  const explanation = offline
    ? 'The npm registry could not be reached. The first run needs it once; connect to the network and run this again.'
    : 'npm ci failed:';
  throw new SetupError(`${explanation}\n${output.trim().split('\n').slice(-15).join('\n')}`);
}

async function step(title, work, say) {
  const startedMs = Date.now();
  say(`carillon: ${title} ...`);
  await work();
  say(`carillon: ${title}: done in ${((Date.now() - startedMs) / 1000).toFixed(1)} s`);
}

/**
 * Installs the dependencies if they are missing or older than package-lock.json, and builds dist/ if it is missing or
 * older than src/. Says nothing when there is nothing to do. Throws SetupError with a message for the reader.
 */
export async function ensureReady({ say = (line) => console.error(line) } = {}) {
  requireNode();
  if (!(await isInstalled())) await step('installing the dependencies (once)', install, say);
  const { build, isFresh } = await import('./build.mjs');
  if (await isFresh()) return;
  await step('building', () => build({ ifStale: true }), say).catch((error) => {
    throw new SetupError(error.message);
  });
}

/** Runs `work`, and turns a SetupError into a message and exit code 1. */
export async function orExplain(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`carillon: ${error.message}`);
    process.exit(1);
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await orExplain(ensureReady);
  console.error('carillon: ready');
}
