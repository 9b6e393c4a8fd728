// What a backlog costs in memory: everything published waits behind handlers that never end.
import { setTimeout as sleep } from 'node:timers/promises';

const mebibyte = 1024 * 1024;
const batch = 1000;
const samplesMax = 20;

export const title = 'Memory with a backlog';
export const figures = [
  { key: 'value', label: 'MiB above idle', better: 'lower', digits: 0 },
  { key: 'peakMiB', label: 'MiB above idle, highest', better: 'lower', digits: 0 },
  { key: 'growthMiB', label: 'MiB from a tenth to all', better: 'lower', digits: 0 },
  { key: 'idleMiB', label: 'MiB idle', better: 'lower', digits: 0 },
];
export const about =
  'Resident memory of the whole process. Idle: the bus has started, the log is empty and the handler waits. Then every event is published, 1,000 to a batch, while the handler never ends; and the same log is opened again by another process. "Highest" is while publishing; "from a tenth to all" tells whether memory grows with the backlog. What bounds it: the read-ahead of each subscription, the heap the garbage collector keeps for itself, the page cache of SQLite.';
export const defaultRounds = 1;
export const defaultEvents = 1_000_000;
export const scenarios = [
  { name: 'waiting', label: 'published into a blocked handler', peers: ['carillon'], bounds: { value: 64 } },
  { name: 'reopened', label: 'opened again, handler blocked', peers: ['carillon'], bounds: { value: 64 } },
];

async function residentMiB() {
  globalThis.gc?.();
  await sleep(100);
  globalThis.gc?.();
  await sleep(100);
  return process.memoryUsage.rss() / mebibyte;
}

async function opened(peer, directory) {
  let begun = 0;
  const bus = await peer.openBlocked({ directory, onHandle: () => begun++ });
  return { bus, begun: () => begun };
}

async function publishAll(bus, events, onSample) {
  const step = Math.max(batch, Math.floor(events / samplesMax / batch) * batch);
  for (let n = 0; n < events; n += batch) {
    await bus.publishMany(n, Math.min(batch, events - n));
    if ((n + batch) % step === 0) onSample(n + batch, process.memoryUsage.rss() / mebibyte);
  }
}

export async function run(peer, { scenario, directory, events, idleMiB }) {
  const { bus, begun } = await opened(peer, directory);
  if (scenario === 'reopened') {
    await sleep(2000);
    if (begun() === 0) throw new Error('no handler was called on the log that was opened again');
    const after = await residentMiB();
    return { value: after - idleMiB, idleMiB, events };
  }
  const idle = await residentMiB();
  let peakMiB = 0;
  let tenthMiB;
  await publishAll(bus, events, (published, rss) => {
    peakMiB = Math.max(peakMiB, rss - idle);
    if (published >= events / 10) tenthMiB ??= rss;
  });
  const last = process.memoryUsage.rss() / mebibyte;
  if (begun() === 0) throw new Error('no handler was called');
  const after = await residentMiB();
  return { value: after - idle, peakMiB, growthMiB: last - tenthMiB, idleMiB: idle, events };
}

/** Publishes into the blocked handler, then opens what that left. */
export async function round(runStep, results) {
  results.waiting = await runStep('waiting', {});
  results.reopened = await runStep('reopened', { idleMiB: results.waiting.idleMiB });
}
