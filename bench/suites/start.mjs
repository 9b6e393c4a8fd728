// How long a bus takes to be ready on a log that exists, and to deliver the first new event.
import { performance } from 'node:perf_hooks';

const batch = 1000;
const batchesInFlight = 4;

export const title = 'Start on an existing log';
export const figures = [
  { key: 'value', label: 'ms to the first delivery', better: 'lower', digits: 0 },
  { key: 'readyMs', label: 'ms to ready', better: 'lower', digits: 0 },
];
export const about =
  'From the call of createBus to the bus being ready, and to the handler being called with an event published then. A fresh process each time, the modules loaded, the pages of the log in the page cache. "After a kill": the process before was killed while it published. The floor is the same on an empty log. What bounds it: the start of the worker thread, and after a kill the write-ahead log that SQLite reads again.';
export const defaultEvents = 1_000_000;

const peers = ['carillon'];
export const scenarios = [
  { name: 'empty', label: 'empty log', peers },
  { name: 'stopped', label: 'after a clean stop', peers, bounds: { value: 1000 } },
  { name: 'killed', label: 'after a kill', peers, bounds: { value: 1000 } },
];

async function build(peer, directory, events) {
  const log = await peer.openLog({ directory });
  let next = 0;
  async function produce() {
    while (next < events) {
      const from = next;
      next += batch;
      await log.publishMany(from, Math.min(batch, events - from));
    }
  }
  const startMs = performance.now();
  await Promise.all(Array.from({ length: batchesInFlight }, produce));
  const seconds = (performance.now() - startMs) / 1000;
  await log.close();
  // The subscription is made at the end of the log, as it stands after a run that was up to date.
  const bus = await peer.openAtEnd({ directory, handle() {} });
  await bus.close();
  return { events, buildSeconds: seconds };
}

/** Opens, delivers one event, and returns the bus with the times it took. */
async function start(peer, directory) {
  const wanted = Math.floor(Math.random() * 1_000_000);
  let delivered;
  const first = new Promise((resolve) => (delivered = resolve));
  const startMs = performance.now();
  const bus = await peer.openAtEnd({ directory, handle: (n) => n === wanted && delivered() });
  const readyMs = performance.now() - startMs;
  bus.publish(wanted).catch((error) => {
    throw error;
  });
  await first;
  return { bus, readyMs, value: performance.now() - startMs };
}

export async function run(peer, { step, directory, events }) {
  if (step === 'build') return build(peer, directory, events);
  const { bus, readyMs, value } = await start(peer, directory);
  if (step === 'then-kill') {
    // The runner sees this process end in the middle of its publishes.
    for (let n = 0; n < 2000; n++) bus.publish(n).catch(() => {});
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 50);
    await new Promise(() => {});
  }
  const { last } = await bus.ends();
  if (step === 'then-stop') await bus.close();
  return { value, readyMs, events: last };
}

export const prepare = (runStep, { events }) => runStep('stopped', { step: 'build', events });

export async function round(runStep, results) {
  results.empty = await runStep('empty', { step: 'measure', directory: undefined });
  await runStep('stopped', { step: 'then-stop' });
  results.stopped = await runStep('stopped', { step: 'then-stop' });
  await runStep('killed', { step: 'then-kill' }).catch((error) => {
    if (!String(error.message).includes('SIGKILL')) throw error;
  });
  results.killed = await runStep('killed', { step: 'then-stop' });
}
