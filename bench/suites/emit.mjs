// In-process emit: how often an event reaches its sync handlers each second. Nothing is stored.
import { performance } from 'node:perf_hooks';
import { orderOf } from '../workload.mjs';

export const title = 'In-process emit';
export const figures = [{ key: 'value', label: 'emits/s', better: 'higher', digits: 0 }];
export const about =
  'One event made beforehand, emitted again and again to handlers that do next to nothing. Wildcard: 1,000 patterns are registered, 500 types are emitted in turn, each matches exactly 2 patterns. What bounds it: the call of the handlers itself; at one handler a few nanoseconds of work between two of them are visible.';

const exactPeers = ['node', 'eventemitter3', 'eventemitter2', 'mitt', 'carillon'];
const exact = (count) => ({
  name: `exact-${count}`,
  label: `exact type, ${count} handler${count === 1 ? '' : 's'}`,
  peers: exactPeers,
  reference: 'node',
  handlers: count,
  target: 0.9,
});

export const scenarios = [
  exact(1),
  exact(3),
  exact(10),
  {
    name: 'wildcard-1000',
    label: '1,000 wildcard patterns, 2 match',
    peers: ['eventemitter2', 'carillon'],
    reference: 'eventemitter2',
    target: 15,
  },
];

const chunk = 20_000;

export async function run(peer, { scenario, seconds }) {
  let calls = 0;
  const handlersOf = (count) =>
    Array.from({ length: count }, () => (event) => {
      calls += event.data.weight;
    });
  const wanted = scenarios.find(({ name }) => name === scenario);
  const data = { ...orderOf(1), weight: 1 };
  let emitMany;
  let perEmit;
  if (wanted.handlers) {
    perEmit = wanted.handlers;
    emitMany = await peer.openExact({ type: 'order.placed', data }, handlersOf(perEmit));
  } else {
    perEmit = 2;
    const areas = Array.from({ length: 500 }, (_, i) => `area${i}`);
    const patterns = areas.flatMap((area) => [`${area}.unit.*`, `${area}.*.start`]);
    const events = areas.map((area) => ({ type: `${area}.unit.start`, data }));
    emitMany = await peer.openWildcard(events, patterns, handlersOf(patterns.length));
  }
  const warmUntil = performance.now() + 300;
  while (performance.now() < warmUntil) emitMany(chunk);

  calls = 0;
  let emits = 0;
  const startMs = performance.now();
  const endMs = startMs + seconds * 1000;
  let nowMs = startMs;
  while (nowMs < endMs) {
    emitMany(chunk);
    emits += chunk;
    nowMs = performance.now();
  }
  if (calls !== emits * perEmit) throw new Error(`${emits} emits made ${calls} calls, not ${emits * perEmit}`);
  return { value: emits / ((nowMs - startMs) / 1000) };
}
