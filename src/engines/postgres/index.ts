import type { Engine } from '../../engine/index.ts';
import { logEngine } from '../../engine/log/index.ts';
import {
  resolveOptions,
  type PostgresOptions,
  type PostgresRetentionSettings,
  type PostgresSettings,
} from './options.ts';
import { PostgresStore } from './store.ts';

export type { PgClient, PgPool, PgPoolClient, PostgresAddress } from '../../postgres/index.ts';
export type { PostgresOptions, PostgresRetentionSettings, PostgresSettings };

/**
 * An engine on PostgreSQL (15 or newer) that any number of processes share.
 *
 * Durability: `publish` resolves after the commit; how durable that is, the server decides (`synchronous_commit`, `fsync`).
 * Publishes made while a commit is under way share the next one. Positions become visible in their order, whoever appends.
 * The keys of a subscription are spread over the processes that run it, one key in one process at a time. A process that
 * dies is replaced within seconds; one that hangs is fenced out when its lease ends, and what it says later is void.
 *
 * A database that cannot be reached, or only reads, is waited for; publishes fail after `unreachableMs`, and then it is
 * unknown whether they are stored: repeat them with the same id.
 *
 * Fails on open with `CARILLON_OPTION_INVALID`, `CARILLON_DATABASE_UNREACHABLE`, `CARILLON_DATABASE_LOGIN`,
 * `CARILLON_DATABASE_TLS`, `CARILLON_DATABASE_UNKNOWN`, `CARILLON_DATABASE_RIGHTS`, `CARILLON_DATABASE_READ_ONLY`,
 * `CARILLON_DATABASE_POOLED`, `CARILLON_DATABASE_VERSION`, `CARILLON_STORAGE_VERSION`.
 * @param options a URL; or `{ url }`, the address `{ host, port, user, password, database, name }` or `{ pool }`, and settings
 */
export function postgres(options: PostgresOptions): Engine {
  return logEngine(new PostgresStore(resolveOptions(options)));
}
