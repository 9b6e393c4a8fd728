import { carillonError } from '../../core/index.ts';
import type { PostgresAddress, PostgresDatabase } from '../../postgres/index.ts';

/** How the engine uses its database. */
export interface PostgresSettings {
  /** The schema of the engine's tables; made when it is not there. Default `carillon`. */
  readonly schema?: string;
  /**
   * How long this process may fail to renew its lease before the others take what it handles, in ms. Default 15,000. A process
   * whose connection is gone is replaced sooner.
   */
  readonly leaseMs?: number;
  /** Between two looks at what other processes have done, in ms, should no notification come. Default 250. */
  readonly lookMs?: number;
  /** How long a publish waits for a database that cannot be reached, in ms. Default 10,000. */
  readonly unreachableMs?: number;
  /** Handlers' transactions open at once, each on a connection of its own. Default 8. */
  readonly transactionsMax?: number;
  /**
   * Events of a segment, the part of the log that is removed at once. Default 4,194,304. Holds for the segments made from now
   * on, so not for the first, which is made with the schema; retention closes segments sooner where its bounds ask for it.
   */
  readonly segmentEvents?: number;
  /** How much of the log is kept. Default: all of it. */
  readonly retention?: PostgresRetentionSettings;
}

/**
 * Bounds of the log; with both, whichever is met first. Whole segments are removed, so up to an eighth more may be there. What
 * was removed is an id that may be published again, and a `CARILLON_GAP` for who asks for it.
 */
export interface PostgresRetentionSettings {
  /** Events older than this are removed, in ms. */
  readonly maxAgeMs?: number;
  /** What the log may take on disk, with its indexes, in bytes. */
  readonly maxBytes?: number;
  /**
   * What becomes of events that a subscription has not handled: `keep` (default) waits for it, however long, and warns;
   * `drop` removes them all the same. Dead letters and retries keep their events either way.
   */
  readonly unread?: 'keep' | 'drop';
}

/** The database, and how it is used: in one object, or as a URL. */
export type PostgresOptions =
  | string
  | (PostgresSettings &
      (PostgresAddress | { readonly url: string } | Extract<PostgresDatabase, { readonly pool: unknown }>));

export interface ResolvedOptions extends Required<Omit<PostgresSettings, 'retention'>> {
  readonly database: PostgresDatabase;
  /** Null: all is kept. */
  readonly retention: ResolvedRetention | null;
}

/** Infinity: no bound. */
export type ResolvedRetention = Required<PostgresRetentionSettings>;

const SCHEMA_DEFAULT = 'carillon';

const numbers: Readonly<
  Record<keyof Omit<PostgresSettings, 'schema' | 'retention'>, { usual: number; least: number; most: number }>
> = {
  leaseMs: { usual: 15_000, least: 100, most: 3_600_000 },
  lookMs: { usual: 250, least: 10, most: 60_000 },
  unreachableMs: { usual: 10_000, least: 0, most: 3_600_000 },
  transactionsMax: { usual: 8, least: 1, most: 1000 },
  segmentEvents: { usual: 4_194_304, least: 1000, most: 1_000_000_000 },
};

/** Judges the options and decides what they leave open. Fails with `CARILLON_OPTION_INVALID`. */
export function resolveOptions(given: PostgresOptions): ResolvedOptions {
  if (typeof given === 'string') return resolveOptions({ url: given });
  if (typeof given !== 'object' || given === null)
    throw invalid('database', 'postgres needs a database: a URL or options');
  const {
    schema = SCHEMA_DEFAULT,
    leaseMs,
    lookMs,
    unreachableMs,
    transactionsMax,
    segmentEvents,
    retention,
    ...database
  } = given;
  if (typeof schema !== 'string' || schema === '' || schema.startsWith('pg_')) {
    throw invalid('schema', `schema must be a name, and none that begins with pg_, not ${JSON.stringify(schema)}`);
  }
  return {
    database,
    schema,
    leaseMs: number('leaseMs', leaseMs),
    lookMs: number('lookMs', lookMs),
    unreachableMs: number('unreachableMs', unreachableMs),
    transactionsMax: number('transactionsMax', transactionsMax),
    segmentEvents: number('segmentEvents', segmentEvents),
    retention: retention === undefined ? null : resolveRetention(retention),
  };
}

const AGE_LEAST_MS = 1000;
const BYTES_LEAST = 1_000_000;

function resolveRetention(given: PostgresRetentionSettings): ResolvedRetention {
  if (typeof given !== 'object' || given === null)
    throw invalid('retention', 'retention must be { maxAgeMs, maxBytes }');
  const { maxAgeMs, maxBytes, unread = 'keep', ...rest } = given;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined)
    throw invalid(`retention.${unknown}`, `retention has no option ${JSON.stringify(unknown)}`);
  if (maxAgeMs === undefined && maxBytes === undefined) {
    throw invalid('retention', 'retention needs a bound: maxAgeMs, maxBytes or both');
  }
  if (unread !== 'keep' && unread !== 'drop') {
    throw invalid('retention.unread', `retention.unread must be "keep" or "drop", not ${JSON.stringify(unread)}`);
  }
  return {
    maxAgeMs: bound('retention.maxAgeMs', maxAgeMs, AGE_LEAST_MS),
    maxBytes: bound('retention.maxBytes', maxBytes, BYTES_LEAST),
    unread,
  };
}

function bound(name: string, given: number | undefined, least: number): number {
  if (given === undefined) return Infinity;
  if (Number.isSafeInteger(given) && given >= least) return given;
  throw invalid(name, `${name} must be a whole number from ${least}, not ${String(given)}`);
}

function number(name: keyof typeof numbers, given: number | undefined): number {
  const { usual, least, most } = numbers[name];
  if (given === undefined) return usual;
  if (Number.isInteger(given) && given >= least && given <= most) return given;
  throw invalid(name, `${name} must be a whole number from ${least} to ${most}, not ${String(given)}`);
}

const invalid = (option: string, message: string): Error =>
  carillonError('CARILLON_OPTION_INVALID', message, { option });
