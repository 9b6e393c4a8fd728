import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { Application } from './postgres/application.mjs';

/**
 * The engines the harness can drive: each from its entry in the built package, on a directory or a database of its own.
 * `makeEffects` is what a handler runs before `insertEffect`, in its transaction.
 */
const engines = {
  sqlite: {
    entry: 'engines/sqlite/index.js',
    open: ({ sqlite }, { directory, reserveBytes, sync }) => sqlite({ directory, reserveBytes, sync }),
    makeEffects: 'CREATE TABLE IF NOT EXISTS crash_effects (event TEXT NOT NULL)',
    insertEffect: 'INSERT INTO crash_effects (event) VALUES (?)',
  },
  postgres: {
    entry: 'engines/postgres/index.js',
    open: ({ postgres }, { database: { url, poolMax: _poolMax, ...settings } }, application) =>
      postgres({ ...(application.shared ? { pool: application.pool } : { url }), ...settings }),
    insertEffect: 'INSERT INTO crash_effects (event) VALUES ($1)',
    application: (database) => new Application(database),
  },
};

export const engineNames = Object.keys(engines);

/** The package as it was built, with the engine asked for. */
export async function load(dist, name) {
  const { entry, open, application, ...statements } = engines[name];
  const load = (path) => import(pathToFileURL(join(dist, path)).href);
  const [carillon, engine] = await Promise.all([load('index.js'), load(entry)]);
  return {
    carillon,
    statements,
    open(task) {
      const beside = application?.(task.database);
      return { engine: open(engine, task, beside), application: beside };
    },
  };
}
