import { carillonError } from '../../core/index.ts';
import type { Database } from './binding.ts';

/**
 * The schema, as steps from each version to the next; `PRAGMA user_version` holds how many have been taken. A step is
 * never changed once released: another is added. Tables are prefixed, because the database may be the application's
 * too.
 */
const steps: readonly string[] = [
  `
  CREATE TABLE carillon_events (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,
    -- A number made of (source, id): see deduplication.ts. An index of integers that mostly rise costs next to nothing,
    -- where one of random text costs two thirds of the throughput.
    dedupe     INTEGER NOT NULL UNIQUE,
    recorded   INTEGER NOT NULL,
    id         TEXT NOT NULL,
    source     TEXT NOT NULL,
    type       TEXT NOT NULL,
    subject    TEXT,
    time       TEXT,
    attributes TEXT,
    data       -- TEXT for JSON, BLOB for bytes, NULL for none
  );

  CREATE TABLE carillon_subscriptions (
    no    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE,
    start INTEGER NOT NULL,
    state BLOB
  ) STRICT;

  CREATE TABLE carillon_deliveries (
    subscription INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    key          TEXT,
    attempts     INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    holds        INTEGER NOT NULL,
    records      TEXT NOT NULL,
    data         TEXT,
    PRIMARY KEY (subscription, position)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX carillon_deliveries_by_state ON carillon_deliveries (subscription, state, key, position);

  CREATE TABLE carillon_scheduled (
    no         INTEGER PRIMARY KEY AUTOINCREMENT,
    due        INTEGER NOT NULL,
    id         TEXT NOT NULL,
    source     TEXT NOT NULL,
    type       TEXT NOT NULL,
    subject    TEXT,
    time       TEXT,
    attributes TEXT,
    data,
    UNIQUE (source, id)
  );
  CREATE INDEX carillon_scheduled_by_due ON carillon_scheduled (due, no);

  -- Which events a subject has: built behind the log, from the first use of expectedRevision on.
  CREATE TABLE carillon_subjects (
    subject  TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (subject, position)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE carillon_subjects_progress (indexed INTEGER NOT NULL) STRICT;
  `,
];

/** "CARI": marks the file as ours for tools such as file(1). */
const APPLICATION_ID = 0x43415249;

/** Brings the schema to this version's. @throws `CARILLON_STORAGE_VERSION` when it is newer */
export function migrate(database: Database): void {
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number };
  if (version > steps.length) {
    throw carillonError(
      'CARILLON_STORAGE_VERSION',
      `the data has schema version ${version}, and this Carillon knows ${steps.length}`,
      { found: version, known: steps.length },
    );
  }
  for (let next = version; next < steps.length; next++) {
    database.exec('BEGIN IMMEDIATE');
    database.exec(steps[next] as string);
    database.exec(`PRAGMA user_version = ${next + 1}`);
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
    database.exec('COMMIT');
  }
}
