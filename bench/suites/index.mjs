/** Every suite, in the order in which they run. */
export const suites = {
  emit: () => import('./emit.mjs'),
  append: () => import('./append.mjs'),
  deliver: () => import('./deliver.mjs'),
  changes: () => import('./changes.mjs'),
  latency: () => import('./latency.mjs'),
  memory: () => import('./memory.mjs'),
  start: () => import('./start.mjs'),
};
