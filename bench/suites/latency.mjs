// From the call of publish to the call of the handler, at a rate far below what anyone can do.
import { performance } from 'node:perf_hooks';
import { latenciesOf, until } from '../measure.mjs';

const rate = 500;
const warmUpMs = 1000;

export const title = 'Latency, publish to handled';
export const figures = [
  { key: 'p50Ms', label: 'p50 ms', better: 'lower', digits: 2 },
  { key: 'p99Ms', label: 'p99 ms', better: 'lower', digits: 2 },
];
/** What every suite of this kind does, whatever it is measured on. */
export const aboutLoad = `${rate} events/s, published one by one without waiting for one another, in one process with the handler; consumers are set as in the suite before, unless told otherwise.`;
export const about = `${aboutLoad} The floor is a bare file append with fdatasync: an event counts as handled there once it is on the disk. What bounds it: the disk for those that wait for it; p99 also tells what else the machine was doing.`;
export const scenarios = [
  {
    name: 'rate-500',
    label: `${rate} events/s`,
    peers: ['file', 'carillon', 'redis-streams', 'bullmq', 'nats', 'graphile-worker', 'pg-boss'],
    subject: 'carillon',
    bounds: { p50Ms: 0.4, p99Ms: 4 },
  },
];

export async function run(peer, { seconds, directory }) {
  const publishedMs = [];
  const samples = [];
  let handled = 0;
  let failure;
  const warmUp = Math.round((rate * warmUpMs) / 1000);
  const total = warmUp + Math.round(rate * seconds);
  const handle = (n) => {
    handled++;
    if (n >= warmUp) samples.push(performance.now() - publishedMs[n]);
  };
  const open = peer.openSingles ?? peer.openQueue;
  const queue = await open({ directory, handle });
  const startMs = performance.now();
  let n = 0;
  while (n < total && failure === undefined) {
    const due = Math.min(total, Math.ceil(((performance.now() - startMs) / 1000) * rate));
    while (n < due) {
      publishedMs[n] = performance.now();
      queue.publishOne(n++).catch((error) => (failure ??= error));
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await until(() => failure !== undefined || handled >= total, 10_000);
  await queue.close();
  if (failure) throw new Error(`a publish failed: ${failure.message}`, { cause: failure });
  if (handled !== total) throw new Error(`${total} events were published and ${handled} handled`);
  return { ...latenciesOf(samples), settings: peer.openSingles && queue.settings };
}
