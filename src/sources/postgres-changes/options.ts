import { carillonError, collectProblems, type Clock } from '../../core/index.ts';
import type { PostgresDatabase } from '../../postgres/index.ts';

/** A table: `orders` and `shop.orders` for plain names, an object for names with dots in them. */
export type TableName = string | { readonly schema: string; readonly table: string };

/** What to capture, and how. */
export interface PostgresChangesOptions {
  /** URL or address; the user needs the attribute REPLICATION. A pool cannot be used: replication has a connection of its own. */
  readonly database: Exclude<PostgresDatabase, { readonly pool: unknown }>;
  /** The tables. Leave out to take those of `publication`. A name without a schema means `public`. */
  readonly tables?: readonly TableName[];
  /**
   * Names the source for good: its place in the bus, its slot and its publication. Lower-case letters, digits and `_`, 1
   * to 40 of them. Default `changes`.
   */
  readonly name?: string;
  /** The replication slot. Default `carillon_<name>`. Made by the source. */
  readonly slot?: string;
  /** The publication. Default `carillon_<name>`, made by the source for `tables`. One that is there is used as it is. */
  readonly publication?: string;
  /** Whether the rows that are there already are told first. Default true. */
  readonly snapshot?: boolean;
  /** Whether changes of definitions are told, by event triggers that the source makes (superuser). `ifAllowed` does without. Default false. */
  readonly ddl?: boolean | 'ifAllowed';
  /**
   * What to do after a gap, when it has been told: `stop` until somebody decides (default), or take a new `snapshot`
   * with a new slot.
   */
  readonly afterGap?: 'stop' | 'snapshot';
  /** The most events of one publish; it must fit the bus's `limits.batchEventsMax`, else it is halved. Default 1000. */
  readonly batchEvents?: number;
  /** How often the captured database is written a heartbeat to, in ms. Default 10,000; 0: never. */
  readonly heartbeatMs?: number;
  /** How long to wait at the start for a slot that another connection holds, in ms. Default 10,000. */
  readonly slotWaitMs?: number;
  /** Waits between tries to connect again: full jitter up to a bound that doubles from the first to the last, in ms. */
  readonly reconnect?: { readonly firstMs?: number; readonly lastMs?: number };
  /** @internal for tests */
  readonly clock?: Clock;
}

export interface ResolvedOptions {
  readonly database: PostgresChangesOptions['database'];
  readonly tables: readonly { readonly schema: string; readonly table: string }[] | null;
  readonly name: string;
  readonly slot: string;
  readonly publication: string;
  readonly snapshot: boolean;
  readonly ddl: boolean | 'ifAllowed';
  readonly afterGap: 'stop' | 'snapshot';
  readonly batchEvents: number;
  readonly heartbeatMs: number;
  readonly slotWaitMs: number;
  readonly firstMs: number;
  readonly lastMs: number;
}

const known = [
  'database',
  'tables',
  'name',
  'slot',
  'publication',
  'snapshot',
  'ddl',
  'afterGap',
  'batchEvents',
  'heartbeatMs',
  'slotWaitMs',
  'reconnect',
  'clock',
];

const NAME = /^[a-z0-9_]{1,40}$/;
/** What PostgreSQL allows a slot to be called. */
const SLOT = /^[a-z0-9_]{1,63}$/;

/** Fails with `CARILLON_OPTION_INVALID`, which names all that is wrong. */
export function resolveOptions(given: PostgresChangesOptions): ResolvedOptions {
  const problems = collectProblems();
  problems.unknown(given, known);
  const { name = 'changes' } = given;
  if (typeof name !== 'string' || !NAME.test(name)) problems.add('name', 'must be 1 to 40 of a-z, 0-9 and _');
  const { slot = `carillon_${name}`, publication = `carillon_${name}` } = given;
  if (typeof slot !== 'string' || !SLOT.test(slot)) problems.add('slot', 'must be 1 to 63 of a-z, 0-9 and _');
  if (typeof publication !== 'string' || publication === '') problems.add('publication', 'must be a name');
  if (given.tables === undefined && given.publication === undefined) {
    problems.add('tables', 'must name the tables, unless a publication is named that has some');
  }
  if (given.tables !== undefined && (!Array.isArray(given.tables) || given.tables.length === 0)) {
    problems.add('tables', 'must be a list of tables, and not empty');
  }
  const tables = Array.isArray(given.tables)
    ? (given.tables as readonly TableName[]).map((one) => tableOf(one, (problem) => problems.add('tables', problem)))
    : null;
  if (![undefined, true, false].includes(given.snapshot)) problems.add('snapshot', 'must be true or false');
  if (![undefined, true, false, 'ifAllowed'].includes(given.ddl))
    problems.add('ddl', 'must be true, false or "ifAllowed"');
  const reconnect = problems.object('reconnect', given.reconnect) ?? {};
  problems.unknown(reconnect, ['firstMs', 'lastMs'], 'reconnect.');
  const resolved: ResolvedOptions = {
    database: given.database,
    tables,
    name,
    slot,
    publication,
    snapshot: given.snapshot ?? true,
    ddl: given.ddl ?? false,
    afterGap: problems.choice('afterGap', given.afterGap, ['stop', 'snapshot']) ?? 'stop',
    batchEvents: problems.whole('batchEvents', given.batchEvents, 1, 100_000) ?? 1000,
    heartbeatMs: problems.whole('heartbeatMs', given.heartbeatMs, 0) ?? 10_000,
    slotWaitMs: problems.whole('slotWaitMs', given.slotWaitMs, 0) ?? 10_000,
    firstMs: problems.whole('reconnect.firstMs', reconnect['firstMs'], 1) ?? 100,
    lastMs: problems.whole('reconnect.lastMs', reconnect['lastMs'], 1) ?? 30_000,
  };
  if (problems.found.length === 0) return resolved;
  const message = problems.found.map(({ option, problem }) => `${option} ${problem}`).join('; ');
  throw carillonError('CARILLON_OPTION_INVALID', `postgresChanges: ${message}`, { problems: problems.found });
}

function tableOf(
  given: TableName,
  add: (problem: string) => void,
): { readonly schema: string; readonly table: string } {
  if (typeof given === 'object' && given !== null) {
    const { schema, table } = given;
    if (typeof schema === 'string' && schema !== '' && typeof table === 'string' && table !== '')
      return { schema, table };
  } else if (typeof given === 'string') {
    const parts = given.split('.');
    const [first = '', second] = parts;
    if (parts.length === 1 && first !== '') return { schema: 'public', table: first };
    if (parts.length === 2 && first !== '' && second) return { schema: first, table: second };
  }
  add(`has ${JSON.stringify(given)}: name a table as "table", "schema.table" or { schema, table }`);
  return { schema: '', table: '' };
}
