import { createBus, type Bus, type BusOptions } from 'carillon';
import { postgres, type PostgresSettings } from 'carillon/postgres';
import type { DatabaseConfig } from './database-config.ts';
import { DatabaseJobs, type JobsOptions } from './jobs.ts';
import { catalogueModule, chronicle, DatabaseModule, JOB_MS } from './modules.ts';
import { createTables } from './tables.ts';

export interface ManagerOptions extends Omit<JobsOptions, 'config'> {
  readonly settings?: PostgresSettings;
  readonly log?: BusOptions['log'];
}

/**
 * Starts the database manager: a bus in the manager's own database, and the modules that do what its events ask for on
 * the same server. Any number of processes may run it; each job is done by one of them.
 */
export async function startDatabaseManager(
  config: DatabaseConfig,
  { settings = {}, log, ...options }: ManagerOptions = {},
): Promise<Bus> {
  await createTables(config);
  const jobs = new DatabaseJobs({ config, ...options });
  return createBus({
    engine: postgres({ transactionsMax: 16, ...settings, ...config }),
    modules: [new DatabaseModule(jobs), catalogueModule(config, jobs.protectedNames), chronicle],
    // A handler's transaction stays open while its job works on the server beside it.
    limits: { transactionMs: JOB_MS },
    ...(log ? { log } : {}),
  });
}
