/**
 * Every error Carillon raises on purpose, one row each: what kind it is, whether trying again can help, what to do.
 * docs/errors.md, the HTTP mapping and the exit codes derive from this table; nothing else invents a code.
 *
 * Kinds: `usage` (the caller's code or configuration), `data` (an event or payload), `conflict` (somebody was first),
 * `unavailable` (not now), `timeout`, `limit` (a bound of `limits`), `storage` (the disk or database), `bug` (ours).
 */
export interface CatalogueRow {
  readonly kind: ErrorKind;
  readonly retryable: boolean;
  /** What to do about it, in a sentence or two. */
  readonly fix: string;
}

export type ErrorKind = 'usage' | 'data' | 'conflict' | 'unavailable' | 'timeout' | 'limit' | 'storage' | 'bug';

/** Kind, fix, and whether trying again can help. Tuples, because declarations are made without inference. */
const rows = {
  // Events and their attributes.
  CARILLON_ATTRIBUTE_MISSING: [
    'data',
    'Give the attribute; CloudEvents 1.0.2 requires specversion, id, source and type.',
  ],
  CARILLON_ATTRIBUTE_INVALID: ['data', 'Mend the attribute named, as CloudEvents 1.0.2 section 3 describes its type.'],
  CARILLON_ATTRIBUTE_NAME: [
    'data',
    'Name extension attributes with lower-case letters and digits only, and none "data".',
  ],
  CARILLON_DATA_INVALID: ['data', 'Send data that the schema of this event type accepts; the issues name the paths.'],
  CARILLON_DATA_NOT_JSON: [
    'data',
    'Keep data to JSON values: for a date use its ISO string, for bytes a Uint8Array as the whole of data.',
  ],
  CARILLON_ENVELOPE_INVALID: ['data', 'Send one CloudEvent as a JSON object, or a batch as a JSON array of them.'],
  CARILLON_EVENT_TOO_LARGE: [
    'limit',
    'Store the payload elsewhere and publish a reference to it, or raise limits.eventBytesMax.',
  ],
  CARILLON_BATCH_TOO_LARGE: ['limit', 'Split the batch; a batch is atomic and must fit limits.batchEventsMax.'],
  // Definitions.
  CARILLON_TYPE_INVALID: [
    'usage',
    'Name the type with dot-separated tokens, such as "order.placed"; "*" and ">" belong to patterns.',
  ],
  CARILLON_SCHEMA_INVALID: ['usage', 'Give a Standard Schema v1 validator (zod, valibot, arktype, ...).'],
  CARILLON_SCHEMA_ASYNC: ['usage', 'Use a synchronous schema; look things up in a sync handler instead.'],
  CARILLON_TYPE_CONFLICT: ['usage', 'Define each event type once and share the definition.'],
  CARILLON_PATTERN_INVALID: [
    'usage',
    'Write a pattern as dot-separated tokens; "*" stands for one token, ">" for the rest and only at the end.',
  ],
  CARILLON_FILTER_INVALID: [
    'usage',
    'Write the filter in a CloudEvents Subscriptions dialect: exact, prefix, suffix, all, any, not.',
  ],
  CARILLON_STRATEGY_INVALID: ['usage', 'Mend the strategy options named.'],
  CARILLON_HANDLER_CONFLICT: ['usage', 'Give each handler of a module a name of its own: { name: "..." }.'],
  CARILLON_MODULE_INVALID: ['usage', 'Mend the module as the message says.'],
  CARILLON_MODULE_CYCLE: ['usage', 'Break the circle of `dependsOn`.'],
  CARILLON_OPTION_INVALID: ['usage', 'Mend the option named.'],
  CARILLON_UNSUPPORTED: ['usage', 'Choose an engine that declares this capability, or do without it.'],
  // Publishing.
  CARILLON_REVISION_CONFLICT: [
    'conflict',
    'Read the subject again, decide anew, and publish with the revision you found.',
  ],
  CARILLON_REFUSED: ['conflict', 'A sync handler refused the event; its reason is the cause.'],
  CARILLON_OVERLOADED: ['limit', 'Wait for publishes in flight, then repeat with the same id.', 'retryable'],
  CARILLON_NO_RESPONDER: ['unavailable', 'Start a module that handles this event type, then ask again.', 'retryable'],
  CARILLON_REQUEST_TIMEOUT: ['timeout', 'Ask again, or allow more with { timeoutMs }.', 'retryable'],
  CARILLON_REQUEST_FAILED: ['unavailable', 'The handler gave up; its error is the cause.'],
  CARILLON_SYNC_TIMEOUT: ['timeout', 'Do less in the sync handler, or move the work to an async one.', 'retryable'],
  CARILLON_EMIT_PUBLISH: [
    'usage',
    'emit stores nothing: publish the event instead, or call bus.publish in the handler.',
  ],
  CARILLON_SCHEDULED_IN_BATCH: ['usage', 'Schedule events one by one; a batch is appended at once.'],
  // Handling.
  CARILLON_HANDLER_TIMEOUT: ['timeout', 'Let the handler heed context.signal, or raise timeoutMs.', 'retryable'],
  CARILLON_LEASE_LOST: [
    'conflict',
    'The attempt was over already; what it did after that is not recorded. Heed context.signal.',
  ],
  CARILLON_GAVE_UP: ['data', 'The handler gave the event up on purpose; the reason is in the message.'],
  CARILLON_CRASHED: [
    'unavailable',
    'The process ended while this attempt may have been running; see the attempt before it.',
    'retryable',
  ],
  CARILLON_TRANSACTION_TIMEOUT: ['timeout', 'Keep the transaction short: it holds the only writer.', 'retryable'],
  CARILLON_TRANSACTION_FAILED: ['data', 'Mend the statement; nothing of the transaction was kept.'],
  CARILLON_DEAD_LETTER_UNKNOWN: ['usage', 'List the dead letters and name one that is there.'],
  // Reading.
  CARILLON_GAP: [
    'conflict',
    'Retention has removed what you asked for; start at the first position the message names.',
  ],
  CARILLON_POSITION_INVALID: ['usage', 'Name a position as a whole number from 0.'],
  CARILLON_SUBSCRIPTION_UNKNOWN: ['usage', 'List the handlers and name one that is there.'],
  CARILLON_SUBSCRIPTION_CONFLICT: [
    'conflict',
    'A subscription of this name is running already; stop it or choose another name.',
  ],
  // Life.
  CARILLON_STOPPED: [
    'unavailable',
    'The bus is stopped or stopping; publish before stop, or start another.',
    'retryable',
  ],
  CARILLON_DRAIN_TIMEOUT: [
    'timeout',
    'Handlers ran past the deadline and were aborted; their events come again after the next start.',
  ],
  CARILLON_ENGINE_FAILED: [
    'storage',
    'The storage failed and nothing more is accepted. Check the disk, then start the process again.',
    'retryable',
  ],
  CARILLON_STORAGE_FULL: ['storage', 'Free disk space; publishing resumes by itself.', 'retryable'],
  CARILLON_STORAGE_BUSY: [
    'storage',
    'Another connection holds the write lock of the database; keep its transactions short.',
    'retryable',
  ],
  CARILLON_STORAGE_CORRUPT: [
    'storage',
    'Restore the data directory from a backup; keep the damaged files for examination.',
  ],
  CARILLON_STORAGE_VERSION: ['storage', 'This data was written by a newer Carillon: upgrade this one.'],
  CARILLON_STORAGE_ACCESS: [
    'storage',
    'Check that the data directory exists and that this user may read and write it.',
  ],
  // Databases.
  CARILLON_DATABASE_UNREACHABLE: [
    'storage',
    'Check that the database server runs and has connections to spare, and that host, port and network are right; connections are tried again.',
    'retryable',
  ],
  CARILLON_DATABASE_LOGIN: ['usage', 'Check user and password, and what pg_hba.conf lets this user do from here.'],
  CARILLON_DATABASE_TLS: [
    'usage',
    'Let the server speak TLS (ssl = on) with a certificate that is trusted here, name its authority (sslrootcert), or connect without (sslmode=disable).',
  ],
  CARILLON_DATABASE_UNKNOWN: ['usage', 'Create the database, or name one that is there.'],
  CARILLON_DATABASE_RIGHTS: [
    'usage',
    'Grant this user the right that is missing (for a schema that is to be made: GRANT CREATE ON DATABASE ... TO ...), or use another user.',
  ],
  CARILLON_DATABASE_POOLED: [
    'usage',
    'Connect to the server itself, or to a pooler that gives a connection one session for as long as it lasts (PgBouncer: pool_mode = session).',
  ],
  CARILLON_DATABASE_READ_ONLY: [
    'storage',
    'Name the primary server instead of a standby, or let this user write: default_transaction_read_only must be off. A bus that runs goes on by itself once it can write.',
    'retryable',
  ],
  CARILLON_DATABASE_VERSION: ['usage', 'Use a PostgreSQL server of version 15 or newer.'],
  // Row changes.
  CARILLON_CHANGES_WAL_LEVEL: [
    'usage',
    'Set wal_level = logical in postgresql.conf (ALTER SYSTEM SET wal_level = logical) and restart the server.',
  ],
  CARILLON_CHANGES_SLOT_TAKEN: [
    'conflict',
    'Stop the process that the message names, or give this source a name or slot of its own.',
    'retryable',
  ],
  CARILLON_CHANGES_SLOT_FOREIGN: [
    'conflict',
    'Name another slot; or, where nobody needs it, drop it with pg_drop_replication_slot and start again.',
  ],
  CARILLON_CHANGES_GAP: [
    'conflict',
    'Find out what happened to the slot or server; then start with afterGap: "snapshot", which tells all rows anew.',
  ],
  CARILLON_CHANGES_TABLES: [
    'usage',
    'Name tables that are there; to capture others than before, start another source beside this one.',
  ],
  CARILLON_CHANGES_IDENTITY: ['usage', 'Give the table a primary key or a replica identity, as the message says.'],
  CARILLON_CHANGES_PROTOCOL: [
    'storage',
    'Use PostgreSQL 15 or later; if it is, please report this with the message and the version of the server.',
  ],
  CARILLON_CHANGES_REFUSED: ['storage', 'Mend on the server what the message says, then start again.'],
  CARILLON_DIRECTORY_LOCKED: ['conflict', 'Stop the process named, or choose another data directory.'],
  CARILLON_BUG: ['bug', 'Please report this with the message and stack: it is a defect of Carillon.'],
} as const;

/** The code of an error of the catalogue. */
export type ErrorCode = keyof typeof rows;

const entries: readonly (readonly [string, readonly [ErrorKind, string, 'retryable'?]])[] = Object.entries(rows);

export const catalogue: Readonly<Record<ErrorCode, CatalogueRow>> = Object.freeze(
  Object.fromEntries(
    entries.map(([code, [kind, fix, retryable]]) => [code, { kind, retryable: retryable !== undefined, fix }]),
  ) as Record<ErrorCode, CatalogueRow>,
);
