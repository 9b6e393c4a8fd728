import type { Engine } from '../../engine/index.ts';
import { logEngine } from '../../engine/log/index.ts';
import { memoryLog, type MemoryLog } from './memory-log.ts';
import { MemoryStore } from './store.ts';

export { memoryLog, type MemoryLog };

/**
 * An engine that keeps everything in memory: for tests, and for a bus whose events need not outlive the process.
 * Durability: none. Its strategies, order, retries and dead letters are those of every other engine (G15).
 * @param log what to keep events in; give the same one to a later engine to go on where the first stopped
 */
export function memory(log: MemoryLog = memoryLog()): Engine {
  return logEngine(new MemoryStore(log));
}
