// Worker processes that share a log on PostgreSQL: what a second one adds.
import { fork } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { sleep } from '../measure.mjs';

const workerFile = fileURLToPath(new URL('../worker.mjs', import.meta.url));

/** Of each worker: see `about`. */
export const concurrency = 4;
export const waitMs = 1;
export const hashedBytes = 16_384;

/** More than two workers can handle in a second. */
const eventsPerSecond = 2 * concurrency * 1000;
const batch = 1000;
const settleMs = 2000;
const limitMs = 30_000;

export const engine = 'postgres';
export const title = 'Worker processes on PostgreSQL';
export const figures = [
  { key: 'value', label: 'events/s', better: 'higher', digits: 0 },
  { key: 'least', label: 'of which the lesser', better: 'higher', digits: 2 },
];
export const about = `Worker processes that share one subscription, ordered by key (5,000 keys), on a log that was published before and does not run out. The handler hashes ${hashedBytes / 1024} KiB and waits ${waitMs} ms, as for an answer from elsewhere; ${concurrency} of them run at once in each process. That wait is the bound, chosen so because worker processes and the server share two cores: a handler that only computes would find no core left for a second process. "Of which the lesser": the part of the events that the worker with fewer of them has handled.`;
export const scenarios = [
  {
    name: 'waiting',
    label: `${waitMs} ms of waiting, ${concurrency} at once`,
    peers: ['carillon-worker', 'carillon-workers'],
    reference: 'carillon-worker',
    target: 1.6,
  },
];

/** A worker process; each question is answered in turn. */
function startWorker(schema) {
  const child = fork(workerFile, [], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  let output = '';
  const collect = (chunk) => (output = (output + chunk).slice(-4000));
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const ended = new Promise((_, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) =>
      reject(new Error(`a worker ended with ${signal ?? `code ${code}`}\n${output}`)),
    );
  });
  ended.catch(() => {});
  const ask = (question) => {
    const answer = new Promise((resolve) => child.once('message', resolve));
    child.send(question);
    return Promise.race([answer, ended]);
  };
  return {
    ask,
    open: () => ask({ open: schema }),
    handled: () => ask('handled'),
    stop: () => ask('stop'),
    kill: () => child.kill('SIGKILL'),
  };
}

async function publishAll(peer, schema, events) {
  const log = await peer.openLogIn(schema);
  let next = 0;
  async function produce() {
    while (next < events) {
      const from = next;
      next += batch;
      await log.publishMany(from, Math.min(batch, events - from));
    }
  }
  await Promise.all(Array.from({ length: 4 }, produce));
  await log.close();
}

export async function run(peer, { seconds }) {
  const schema = peer.newSchema();
  const events = Math.ceil(eventsPerSecond * (seconds + settleMs / 1000 + 3));
  const workers = [];
  try {
    await publishAll(peer, schema, events);
    for (let i = 0; i < peer.workers; i++) workers.push(startWorker(schema));
    await Promise.all(workers.map((worker) => worker.open()));
    const counts = () => Promise.all(workers.map((worker) => worker.handled()));
    // Until each has its part of the keys.
    const endMs = performance.now() + limitMs;
    while ((await counts()).includes(0)) {
      if (performance.now() > endMs) throw new Error(`a worker was given nothing within ${limitMs / 1000} s`);
      await sleep(50);
    }
    await sleep(settleMs);
    const startMs = performance.now();
    const before = await counts();
    await sleep(seconds * 1000);
    const after = await counts();
    const spentS = (performance.now() - startMs) / 1000;
    if (after.reduce((sum, count) => sum + count, 0) >= events) throw new Error('the events have run out');
    const handled = after.map((count, i) => count - before[i]);
    const all = handled.reduce((sum, count) => sum + count, 0);
    for (const worker of workers) await worker.stop();
    return { value: all / spentS, least: Math.min(...handled) / all };
  } finally {
    for (const worker of workers) worker.kill();
    await peer.dropSchema(schema);
  }
}
