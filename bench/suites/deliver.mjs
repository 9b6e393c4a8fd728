// Publish, handle, acknowledge: events that go the whole way, producer and handler in one process.
import { performance } from 'node:perf_hooks';
import { until } from '../measure.mjs';
import { keyCount } from '../workload.mjs';

export const title = 'Publish, handle, acknowledge';
export const figures = [
  { key: 'value', label: 'events/s', better: 'higher', digits: 0 },
  { key: 'busy', label: 'main thread busy', better: 'lower', digits: 2 },
  { key: 'inverted', label: 'out of key order', better: 'lower', digits: 0 },
];
/** What every suite of this kind does, whatever it is measured on. */
export const aboutLoad = `Producer and handler in one process, ${keyCount.toLocaleString('en')} keys, a handler that does nothing; the producer stops while the backlog is full (2,000 events). Every event published was handled in every run, or the run fails. "Out of key order" counts events handled after a later one of their key.`;
export const about = `${aboutLoad} What bounds it: for Carillon the main thread; for the others the round trips to their server and, on two cores, the server itself.`;

const others = ['redis-streams', 'bullmq', 'nats', 'pg-boss', 'graphile-worker'];
export const scenarios = [
  {
    name: 'through',
    label: 'as fast as it goes',
    peers: ['carillon', ...others],
    subject: 'carillon',
    targets: { 'redis-streams': 1, bullmq: 6, nats: 6, 'pg-boss': 6, 'graphile-worker': 6 },
  },
];

const backlogMax = 2000;
const warmUpMs = 1000;
const settleMs = 20_000;

export async function run(peer, { seconds, directory }) {
  const lastOfKey = new Int32Array(keyCount).fill(-1);
  let sent = 0;
  let handled = 0;
  let inverted = 0;
  let running = true;
  let calls = 0;
  let failure;
  let pump = () => {};

  const handle = (n) => {
    const key = n % keyCount;
    if (n < lastOfKey[key]) inverted++;
    else lastOfKey[key] = n;
    handled++;
    pump();
  };
  const queue = await peer.openQueue({ directory, handle });
  const { batch, callsMax } = queue;
  const settled = () => {
    calls--;
    pump();
  };
  const failed = (error) => {
    failure ??= error;
    running = false;
  };
  pump = () => {
    while (running && calls < callsMax && sent - handled + batch <= backlogMax) {
      const numbers = Array.from({ length: batch }, (_, i) => sent + i);
      sent += batch;
      calls++;
      queue.publish(numbers).then(settled, failed);
    }
  };

  pump();
  await new Promise((resolve) => setTimeout(resolve, warmUpMs));
  const startMs = performance.now();
  const before = handled;
  const loop = performance.eventLoopUtilization();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const value = (handled - before) / ((performance.now() - startMs) / 1000);
  const busy = performance.eventLoopUtilization(loop).utilization;
  running = false;
  const all = await until(() => failure !== undefined || (handled >= sent && calls === 0), settleMs);
  await queue.close();
  if (failure) throw new Error(`a publish failed: ${failure.message}`, { cause: failure });
  if (!all || handled !== sent) throw new Error(`${sent} events were published and ${handled} handled`);
  return { value, busy, inverted, settings: queue.settings };
}
