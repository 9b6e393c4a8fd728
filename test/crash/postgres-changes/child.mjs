// The process that is killed: a bus on SQLite with the source in it. Its task is the first line of its input; it tells
// its states, a line each. The end of its input stops it.
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { tables } from './workload.mjs';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { dist, url, directory, sync } = JSON.parse((await lines.next()).value);
const load = (path) => import(pathToFileURL(join(dist, path)).href);
const [{ createBus }, { sqlite }, { postgresChanges }] = await Promise.all(
  ['index.js', 'engines/sqlite/index.js', 'sources/postgres-changes/index.js'].map(load),
);

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const log = {
  debug: () => undefined,
  info: (message, fields) => tell({ log: message, ...fields }),
  warn: (message, fields) => tell({ log: message, ...fields }),
  error: (message, fields) => tell({ log: message, ...fields }),
  child: () => log,
};

const changes = postgresChanges({ database: url, tables });
try {
  const bus = await createBus({ engine: sqlite({ directory, sync }), modules: [changes], log });
  let told = '';
  const watch = setInterval(() => {
    const { state, published, duplicates, error } = changes.status();
    if (state !== told) tell({ state, error: error?.message });
    told = state;
    if (state === 'streaming' || state === 'snapshot') tell({ published, duplicates });
  }, 20);
  await lines.next();
  clearInterval(watch);
  const { published, duplicates } = changes.status();
  await bus.stop();
  tell({ stopped: true, published, duplicates });
  process.exit(0);
} catch (error) {
  tell({ failed: error.message, code: error.code });
  process.exit(1);
}
