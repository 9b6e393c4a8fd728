import pg from 'pg';
import { describe, it } from 'vitest';
import type { Engine } from '../../src/engine/index.ts';
import { logEngine } from '../../src/engine/log/index.ts';
import { resolveOptions } from '../../src/engines/postgres/options.ts';
import { PostgresStore } from '../../src/engines/postgres/store.ts';
import { describeEngine, type ApplicationTransaction } from '../../src/testing/index.ts';
import { freshDatabase } from '../postgres/fresh-database.ts';

describeEngine(
  {
    name: 'postgres',
    capabilities: { durable: true, transactions: true, shared: true, outbox: true },
    open: async () => {
      const database = await freshDatabase();
      const options = resolveOptions({ url: database.url, lookMs: 20, leaseMs: 3000 });
      const stores = new Map<Engine, PostgresStore>();
      const clients: pg.Client[] = [];
      const open = (): Engine => {
        const store = new PostgresStore(options);
        const engine = logEngine(store);
        stores.set(engine, store);
        return engine;
      };
      const kill = (engine: Engine): void => {
        stores.get(engine)?.kill();
        stores.delete(engine);
      };
      const crash = async (only?: Engine): Promise<void> => {
        if (only) return kill(only);
        const members = [...stores.values()].map(({ sharing }) => sharing.member);
        for (const engine of stores.keys()) kill(engine);
        // What others find out within seconds is told here at once, so that no case waits for it.
        await database.query(`SELECT carillon.bury_member(no) FROM unnest(array[${members.join(',')}]::int[]) AS no`);
      };
      const transaction = async (): Promise<ApplicationTransaction> => {
        const client = new pg.Client(database.url);
        clients.push(client);
        await client.connect();
        await client.query('BEGIN');
        const end = async (sql: string): Promise<void> => void (await client.query(sql));
        return { tx: client, commit: () => end('COMMIT'), rollback: () => end('ROLLBACK') };
      };
      const dispose = async (): Promise<void> => {
        for (const engine of stores.keys()) kill(engine);
        await Promise.all(clients.map((client) => client.end()));
        await database.drop();
      };
      return { open, crash, transaction, dispose };
    },
  },
  { describe, it },
);
