import { describe, it } from 'vitest';
import { memory, memoryLog, type MemoryLog } from '../../src/engines/memory/index.ts';
import { describeEngine } from '../../src/testing/index.ts';

/** What a killed engine goes on writing to is not what the next one finds. */
function copyOf(log: MemoryLog): MemoryLog {
  const copies = Object.entries(log).map(([name, value]: [string, unknown]) => [
    name,
    value instanceof Map ? new Map(value) : Array.isArray(value) ? [...(value as unknown[])] : value,
  ]);
  return { ...(Object.fromEntries(copies) as MemoryLog), inUse: false };
}

describeEngine(
  {
    name: 'memory',
    capabilities: { durable: false, transactions: false, shared: false, outbox: false },
    open: () => {
      let log = memoryLog();
      const crash = (): Promise<void> => Promise.resolve(void (log = copyOf(log)));
      return { open: () => memory(log), crash, dispose: () => Promise.resolve() };
    },
  },
  { describe, it },
);
