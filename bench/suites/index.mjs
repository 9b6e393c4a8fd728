/** The engines that suites are of. Those that belong to no engine run with the first. */
export const engines = ['sqlite', 'postgres'];

/** Every suite, in the order in which they run. Those of a further engine have its name at their end. */
export const suites = {
  emit: () => import('./emit.mjs'),
  append: () => import('./append.mjs'),
  deliver: () => import('./deliver.mjs'),
  changes: () => import('./changes.mjs'),
  latency: () => import('./latency.mjs'),
  memory: () => import('./memory.mjs'),
  start: () => import('./start.mjs'),
  'append-postgres': () => import('./append-postgres.mjs'),
  'deliver-postgres': () => import('./deliver-postgres.mjs'),
  'latency-postgres': () => import('./latency-postgres.mjs'),
  'workers-postgres': () => import('./workers-postgres.mjs'),
};

const endings = engines.slice(1).map((engine) => `-${engine}`);
const engineOf = (key) => engines.find((engine) => key.endsWith(`-${engine}`)) ?? engines[0];

/** What a suite is called on the command line, and the engine to name with it. */
export function commandOf(key) {
  const ending = endings.find((one) => key.endsWith(one));
  return ending === undefined ? { name: key } : { name: key.slice(0, -ending.length), engine: ending.slice(1) };
}

/** The names that can be asked for. */
export const names = [...new Set(Object.keys(suites).map((key) => commandOf(key).name))];

/**
 * The suites of these names on one engine; without names all of it, and without an engine all of all. A name without an
 * engine means the first that has such a suite.
 */
export function select(wanted, engine) {
  const keys = Object.keys(suites).filter((key) => engine === undefined || engineOf(key) === engine);
  if (wanted.length === 0) return keys;
  const found = wanted.map((name) => [name, keys.find((key) => commandOf(key).name === name)]);
  const missing = found.find(([, key]) => key === undefined);
  if (missing) throw new Error(`There is no suite ${missing[0]}${engine === undefined ? '' : ` on ${engine}`}.`);
  return keys.filter((key) => found.some(([, one]) => one === key));
}
