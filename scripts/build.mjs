// Builds dist/ from src/. Uses Node built-ins only; the compiler comes from node_modules.
//
//   node scripts/build.mjs             always builds
//   node scripts/build.mjs --if-stale  builds only when the sources differ from what dist/ was built from
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const src = join(root, 'src');
const dist = join(root, 'dist');
const stampFile = join(dist, '.build');
const lockDirectory = join(root, 'node_modules', '.carillon-build.lock');
const compiler = join(root, 'node_modules', 'typescript7', 'bin', 'tsc');

const isTest = (path) => path.endsWith('.test.ts');
const isSource = (path) => path.endsWith('.ts') && !path.endsWith('.d.ts');
/** Files that the compiler leaves alone but the program reads at run time. */
const isAsset = (path) => !path.endsWith('.ts') && !path.endsWith('.md');

async function filesUnder(directory) {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true }).catch((error) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** A digest of everything the contents of dist/ depend on. */
async function digestOfInputs() {
  const inputs = [
    join(root, 'tsconfig.base.json'),
    join(root, 'tsconfig.build.json'),
    join(root, 'package-lock.json'),
    ...(await filesUnder(src)).filter((path) => !isTest(path)),
  ];
  const hash = createHash('sha256');
  for (const path of inputs) {
    hash.update(`${relative(root, path)}\0`);
    hash.update(await readFile(path));
    hash.update('\0');
  }
  return hash.digest('hex');
}

/** Whether dist/ was built from the sources as they stand. */
export async function isFresh() {
  const built = await readFile(stampFile, 'utf8').catch(() => '');
  return built !== '' && built === (await digestOfInputs());
}

/** Two builds at once would write the same files; the second waits for the first. */
async function withLock(work) {
  await mkdir(dirname(lockDirectory), { recursive: true });
  for (;;) {
    try {
      await mkdir(lockDirectory);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const owner = Number(await readFile(join(lockDirectory, 'pid'), 'utf8').catch(() => '0'));
      const age = Date.now() - ((await stat(lockDirectory).catch(() => undefined))?.mtimeMs ?? Date.now());
      if (owner > 0 ? !isAlive(owner) : age > 10_000) await rm(lockDirectory, { recursive: true, force: true });
      else await sleep(100);
    }
  }
  try {
    await writeFile(join(lockDirectory, 'pid'), String(process.pid));
    return await work();
  } finally {
    await rm(lockDirectory, { recursive: true, force: true });
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function compile(extra) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [compiler, '-p', 'tsconfig.build.json', '--pretty', 'false', ...extra], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', reject);
    child.on('close', (code) => resolve({ ok: code === 0, output }));
  });
}

/** Removes what an earlier build left behind for sources that are gone, and copies the assets. */
async function reconcile() {
  const expected = new Set([stampFile]);
  for (const path of await filesUnder(src)) {
    const target = join(dist, relative(src, path));
    if (isSource(path) && !isTest(path)) {
      const stem = target.slice(0, -'.ts'.length);
      for (const suffix of ['.js', '.js.map', '.d.ts', '.d.ts.map']) expected.add(stem + suffix);
    } else if (isAsset(path)) {
      expected.add(target);
      await mkdir(dirname(target), { recursive: true });
      await copyFile(path, target);
    }
  }
  for (const path of await filesUnder(dist)) if (!expected.has(path)) await rm(path, { force: true });
  await chmod(join(dist, 'cli', 'main.js'), 0o755).catch((error) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

/**
 * Builds dist/. With `ifStale` nothing happens when dist/ is fresh. With `evenWithTypeErrors` the JavaScript is
 * written although the types do not check, which is what a test run during development wants; dist/ then stays stale.
 * Returns what was done; throws an Error with the compiler's output when the build failed.
 */
export function build({ ifStale = false, evenWithTypeErrors = false } = {}) {
  return withLock(async () => {
    if (ifStale && (await isFresh())) return { built: false, warnings: '' };
    const digest = await digestOfInputs();
    await rm(stampFile, { force: true });
    const { ok, output } = await compile(evenWithTypeErrors ? [] : ['--noEmitOnError']);
    if (!ok && !evenWithTypeErrors) throw new Error(`The build failed.\n${output.trim()}`);
    await reconcile();
    if (ok) await writeFile(stampFile, digest);
    return { built: true, warnings: ok ? '' : output.trim() };
  });
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    const { built } = await build({ ifStale: process.argv.includes('--if-stale') });
    console.log(built ? 'dist/ built' : 'dist/ is up to date');
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
