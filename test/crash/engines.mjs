import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

/** The engines the harness can drive: each from its entry in the built package, on a directory of its own. */
const engines = {
  sqlite: {
    entry: 'engines/sqlite/index.js',
    open: ({ sqlite }, { directory, reserveBytes, sync }) => sqlite({ directory, reserveBytes, sync }),
  },
};

export const engineNames = Object.keys(engines);

/** The package as it was built, with the engine asked for. */
export async function load(dist, name) {
  const { entry, open } = engines[name];
  const load = (path) => import(pathToFileURL(join(dist, path)).href);
  const [carillon, engine] = await Promise.all([load('index.js'), load(entry)]);
  return { carillon, open: (task) => open(engine, task) };
}
