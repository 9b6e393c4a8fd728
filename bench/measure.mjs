// How a figure is taken: fresh processes, interleaved and shuffled; percentiles; what a run waits for.
import { fork } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';

const childFile = fileURLToPath(new URL('child.mjs', import.meta.url));
/** Not the system's folder for temporary files: that one may lie in memory, where an fsync costs nothing. */
export const workDirectory = fileURLToPath(new URL('.carillon', import.meta.url));

const isAlive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
};

/** Makes it, and removes what a run that was killed has left in it. */
export async function makeWorkDirectory() {
  await mkdir(workDirectory, { recursive: true });
  for (const name of await readdir(workDirectory)) {
    if (!isAlive(Number.parseInt(name, 10))) await rm(join(workDirectory, name), { recursive: true, force: true });
  }
}

/** A new directory in it; whoever asks for it removes it. */
export const ownDirectory = () => mkdtemp(join(workDirectory, `${process.pid}-`));

/**
 * Runs one job in a process of its own, with a directory of its own that is gone afterwards.
 * @param {{ suite: string, scenario: string, peer: string, step?: string, seconds: number, directory?: string }} job
 * @param {number} limitMs after which the process is killed and the run has failed
 */
export async function runFresh(job, limitMs) {
  const own = job.directory === undefined;
  const directory = job.directory ?? (await ownDirectory());
  try {
    return await inChild({ ...job, directory }, limitMs);
  } finally {
    if (own) await rm(directory, { recursive: true, force: true });
  }
}

function inChild(job, limitMs) {
  return new Promise((resolve, reject) => {
    const child = fork(childFile, [], { execArgv: ['--expose-gc'], stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    let output = '';
    let answer;
    let late = false;
    const collect = (chunk) => (output = (output + chunk).slice(-4000));
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, limitMs);
    child.on('message', (message) => (answer = message));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (answer?.result !== undefined) return resolve(answer.result);
      const why = late ? `no result within ${Math.round(limitMs / 1000)} s` : `ended with ${signal ?? `code ${code}`}`;
      return reject(new Error(answer?.error ?? `${why}\n${output.trim()}`.trim()));
    });
    child.send(job);
  });
}

/** A copy in random order, so that no peer always runs first or after the same other one. */
export function shuffled(list) {
  const copy = [...list];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [copy[i], copy[j]] = [copy[j], copy[i]];
  }
  return copy;
}

/** The value below which the given part of the sorted values lies. */
export function percentile(sorted, part) {
  if (sorted.length === 0) return Number.NaN;
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
}

export const ascending = (values) => [...values].sort((a, b) => a - b);

export function median(values) {
  const sorted = ascending(values);
  if (sorted.length === 0) return Number.NaN;
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** p50 and p99 of samples in ms. */
export function latenciesOf(samples) {
  const sorted = Float64Array.from(samples).sort();
  return { samples: sorted.length, p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) };
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Resolves true once the condition holds, false when it does not within the time. */
export async function until(condition, limitMs) {
  const endMs = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > endMs) return false;
    await sleep(5);
  }
  return true;
}
