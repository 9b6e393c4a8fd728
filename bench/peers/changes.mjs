// Carillon's source of row changes, from this repository's dist/, to a bus on the memory engine.
import { createBus } from '../../dist/index.js';
import { memory, memoryLog } from '../../dist/engines/memory/index.js';
import { postgresChanges } from '../../dist/sources/postgres-changes/index.js';

const waitFor = async (condition) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
};

export async function prepareChanges({ server, table }) {
  const log = memoryLog();
  const changes = postgresChanges({ database: server.url(), tables: [table] });
  const start = () => createBus({ engine: memory(log), modules: [changes] });
  const first = await start();
  await waitFor(() => changes.status().state === 'streaming');
  await first.stop();
  let bus;
  return {
    inProcess: true,
    readTo: async ({ changes: count }) => {
      bus = await start();
      await waitFor(() => {
        const { published, error } = changes.status();
        if (error) throw error;
        return published >= count;
      });
    },
    close: () => bus.stop(),
  };
}
