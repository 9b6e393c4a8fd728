/**
 * Where the thread's entry lies. Run from source (tests), it is the built one: Node 20 cannot load TypeScript in a thread.
 */
export function workerUrl(): URL {
  const fromSource = import.meta.url.endsWith('.ts');
  return new URL(fromSource ? '../../../dist/engines/sqlite/worker.js' : './worker.js', import.meta.url);
}
