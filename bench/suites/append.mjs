// Durable publish: how many publishes each second resolve with their event on the disk.
import { performance } from 'node:perf_hooks';
import { latenciesOf } from '../measure.mjs';

export const title = 'Durable publish';
export const figures = [
  { key: 'value', label: 'publishes/s', better: 'higher', digits: 0 },
  { key: 'p50Ms', label: 'p50 ms', better: 'lower', digits: 2 },
  { key: 'p99Ms', label: 'p99 ms', better: 'lower', digits: 2 },
  { key: 'busy', label: 'main thread busy', better: 'lower', digits: 2 },
];
export const about =
  'So many publishes in flight, each of one event with a promise of its own that resolves when the event is on the disk. Making the event and its JSON is part of it, for every peer. Nobody handles the events. What bounds it: with many in flight the main thread (event, JSON, promise), with one in flight the disk.';

const peers = ['file', 'sqlite', 'carillon'];
export const scenarios = [
  { name: 'flight-1000', label: '1,000 in flight', peers, reference: 'file', inFlight: 1000, target: 0.8 },
  { name: 'flight-1', label: '1 in flight', peers, reference: 'file', inFlight: 1 },
];

export const run = (peer, job) => runIn(scenarios, peer, job);

/** @param from the scenarios of the suite that runs */
export async function runIn(from, peer, { scenario, seconds, directory }) {
  const { inFlight } = from.find(({ name }) => name === scenario);
  const log = await peer.openLog({ directory });
  let n = 0;
  let counting = false;
  let running = true;
  let count = 0;
  const samples = [];

  async function produce() {
    while (running) {
      const startMs = performance.now();
      await log.publish(n++);
      if (counting) {
        count++;
        samples.push(performance.now() - startMs);
      }
    }
  }
  const producers = Array.from({ length: inFlight }, produce);
  await new Promise((resolve) => setTimeout(resolve, 500));
  counting = true;
  const startMs = performance.now();
  const loop = performance.eventLoopUtilization();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  counting = false;
  const value = count / ((performance.now() - startMs) / 1000);
  const busy = performance.eventLoopUtilization(loop).utilization;
  running = false;
  await Promise.all(producers);
  await log.close();
  return { value, busy, ...latenciesOf(samples) };
}
