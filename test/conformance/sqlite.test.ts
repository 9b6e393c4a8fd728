import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { logEngine } from '../../src/engine/log/index.ts';
import { SqliteStore } from '../../src/engines/sqlite/store.ts';
import { describeEngine } from '../../src/testing/index.ts';

describeEngine(
  {
    name: 'sqlite',
    capabilities: { durable: true, transactions: true, shared: false, outbox: false },
    open: async () => {
      const directory = await mkdtemp(join(tmpdir(), 'carillon-conformance-'));
      const stores: SqliteStore[] = [];
      const open = () => logEngine(stores[stores.push(new SqliteStore({ directory })) - 1] as SqliteStore);
      const crash = async (): Promise<void> => {
        for (const store of stores.splice(0)) {
          // A killed process hears nothing of its own end.
          store.closing = true;
          store.pending.clear();
          await store.worker?.terminate();
        }
      };
      return { open, crash, dispose: () => crash().then(() => rm(directory, { recursive: true, force: true })) };
    },
  },
  { describe, it },
);
