import { carillonError, defineModule, systemClock, type Module } from '../../core/index.ts';
import { resolveOptions, type PostgresChangesOptions } from './options.ts';
import { Source, type SourceStatus } from './source.ts';

export type { PostgresChangesOptions, TableName } from './options.ts';
export type { ChangeTransaction, RowChange } from './changes.ts';
export type { DefinitionChange } from './messages.ts';
export type { SourceState, SourceStatus } from './source.ts';
export type { JournalEntry } from './journal.ts';
export { ddlEvents, tableEvents, type DdlEvent, type TableEvents } from './definitions.ts';
export { ACTOR_PREFIX } from './messages.ts';

/** The module {@link postgresChanges} makes. */
export interface PostgresChanges extends Module {
  /** How the source stands. */
  status(): SourceStatus;
}

/**
 * A module that publishes what happens to the rows of a PostgreSQL database: first a consistent snapshot of the tables,
 * then every committed INSERT, UPDATE, DELETE and TRUNCATE, in the order of the commits, from logical replication.
 *
 * **Guarantees**: no change is missing and none is stored twice, whatever is killed (`docs/postgres-changes.md` says
 * how); the server keeps what is not durable on the bus yet; memory does not grow with a transaction.
 *
 * **Fails with**, when the bus starts: `CARILLON_DATABASE_UNREACHABLE`, `CARILLON_DATABASE_LOGIN`, `CARILLON_DATABASE_TLS`,
 * `CARILLON_DATABASE_UNKNOWN`, `CARILLON_DATABASE_RIGHTS`, `CARILLON_CHANGES_WAL_LEVEL`, `CARILLON_CHANGES_SLOT_TAKEN`,
 * `CARILLON_CHANGES_SLOT_FOREIGN`, `CARILLON_CHANGES_TABLES`, `CARILLON_CHANGES_IDENTITY`, `CARILLON_CHANGES_GAP`,
 * `CARILLON_CHANGES_REFUSED`. What happens later shows in `status()` and in `bus.health()`; connections that break are
 * made again.
 *
 * One bus at a time may run it. Fails with `CARILLON_OPTION_INVALID`.
 */
export function postgresChanges(options: PostgresChangesOptions): PostgresChanges {
  const resolved = resolveOptions(options);
  const clock = options.clock ?? systemClock;
  let source: Source | null = null;
  const idle: SourceStatus = {
    state: 'stopped',
    error: null,
    generation: 0,
    confirmed: '0/0',
    published: 0,
    duplicates: 0,
  };
  const module = defineModule(`postgres-changes-${resolved.name.replaceAll('_', '-')}`, {
    onStart: async ({ bus, log }) => {
      if (source !== null) {
        throw carillonError('CARILLON_MODULE_INVALID', `the source "${resolved.name}" runs on another bus already`);
      }
      source = new Source(resolved, clock, bus, log);
      await source.start();
    },
    onStop: async () => {
      await source?.stop();
      source = null;
    },
    onHealth: () => {
      const { state, error } = source?.status ?? idle;
      const healthy = state === 'snapshot' || state === 'streaming';
      return error === null && healthy ? { healthy } : { healthy: false, detail: error?.message ?? state };
    },
  });
  return Object.freeze({ ...module, status: () => source?.status ?? idle });
}
