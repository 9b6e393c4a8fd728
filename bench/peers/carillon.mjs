// Carillon as an application uses it, from this repository's dist/.
import { join } from 'node:path';
import { createBus, defineEvent, defineModule } from '../../dist/index.js';
import { memory } from '../../dist/engines/memory/index.js';
import { sqlite } from '../../dist/engines/sqlite/index.js';
import { eventSource, eventType, keyOf, numberOf, orderOf } from '../workload.mjs';

export const durability = 'SQLite in WAL mode, synchronous=FULL: fsync at each group commit, before publish resolves';
export const keepsKeyOrder = true;

const OrderPlaced = defineEvent(eventType, { source: eventSource });
/** The handlers that may run at once: as many as BullMQ is given. */
const concurrency = 200;
const dayMs = 24 * 60 * 60 * 1000;

const eventFor = (n) => OrderPlaced(orderOf(n), { subject: keyOf(n) });

const engineIn = (directory) => sqlite(join(directory, 'log'));

export const moduleOf = (handle, options = {}) =>
  defineModule('bench', (m) => {
    m.handle(OrderPlaced, (event) => handle(numberOf(event.data)), {
      name: 'orders',
      order: 'key',
      concurrency,
      from: 'beginning',
      ...options,
    });
  });

export async function openExact(event, handlers) {
  const module = defineModule('bench', (m) => {
    handlers.forEach((handler, i) => m.handleSync(event.type, handler, { name: `h${i}` }));
  });
  const bus = await createBus({ engine: memory(), modules: [module] });
  const made = defineEvent(event.type, { source: eventSource })(event.data);
  return (count) => {
    for (let i = 0; i < count; i++) void bus.emit(made);
  };
}

export async function openWildcard(events, patterns, handlers) {
  const module = defineModule('bench', (m) => {
    patterns.forEach((pattern, i) => m.handleSync(pattern, handlers[i], { name: `h${i}` }));
  });
  const bus = await createBus({ engine: memory(), modules: [module] });
  const made = events.map(({ type, data }) => defineEvent(type, { source: eventSource })(data));
  return (count) => {
    for (let i = 0, at = 0; i < count; i++) {
      void bus.emit(made[at]);
      if (++at === made.length) at = 0;
    }
  };
}

/** A log that is published into, on an engine. */
export async function logOn(engine) {
  const bus = await createBus({ engine });
  return {
    publish: (n) => bus.publish(eventFor(n)),
    publishMany: (from, count) => bus.publish(Array.from({ length: count }, (_, i) => eventFor(from + i))),
    close: () => bus.stop(),
  };
}

/** One event for each publish, each with its own promise: the bus gathers them itself. */
export async function queueOn(engine, handle) {
  const bus = await createBus({ engine, modules: [moduleOf(async (n) => handle(n))] });
  return {
    batch: 1,
    callsMax: 2000,
    publish: ([n]) => bus.publish(eventFor(n)),
    publishOne: (n) => bus.publish(eventFor(n)),
    settings: `single publishes, concurrency ${concurrency}, order by key`,
    close: () => bus.stop(),
  };
}

export const openLog = ({ directory }) => logOn(engineIn(directory));
export const openQueue = ({ directory, handle }) => queueOn(engineIn(directory), handle);

/** A bus whose handler never ends, so that everything published waits. */
export async function openBlocked({ directory, onHandle }) {
  const forever = new Promise(() => {});
  const handle = (n) => {
    onHandle(n);
    return forever;
  };
  const modules = [moduleOf(handle, { timeoutMs: dayMs })];
  const bus = await createBus({ engine: engineIn(directory), modules });
  return {
    publishMany: (from, count) => bus.publish(Array.from({ length: count }, (_, i) => eventFor(from + i))),
  };
}

/** A bus on a log that exists. The handler's place is at the end of the log, as after a run that was up to date. */
export async function openAtEnd({ directory, handle }) {
  const modules = [moduleOf(async (n) => handle(n), { from: 'now' })];
  const bus = await createBus({ engine: engineIn(directory), modules });
  return { publish: (n) => bus.publish(eventFor(n)), ends: () => bus.ends(), close: () => bus.stop() };
}
