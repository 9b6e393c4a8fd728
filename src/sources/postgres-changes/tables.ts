import { createHash } from 'node:crypto';
import { carillonError } from '../../core/index.ts';
import { quoteIdentifier, type Connection } from '../../postgres/index.ts';
import type { ResolvedOptions } from './options.ts';
import type { Relation } from './pgoutput.ts';
import { refusal } from './replication.ts';
import { conversionOf } from './values.ts';

/** A captured table, as the catalogue of the database has it. */
export interface CapturedTable {
  readonly relation: Relation;
  /** `"public"."orders"`. */
  readonly sql: string;
  readonly partitioned: boolean;
  /** Columns of the primary key; none where there is none that holds at every moment. */
  readonly primaryKey: readonly string[];
  /** What the publication leaves out of its rows, as an SQL condition; null for nothing. */
  readonly filter: string | null;
}

export async function ask(
  control: Connection,
  label: string,
  text: string,
  values: readonly unknown[] = [],
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  try {
    return (await control.query({ text, values })).rows;
  } catch (error) {
    throw refusal(error, label);
  }
}

interface TableRow {
  readonly oid: string;
  readonly schema: string;
  readonly table: string;
  readonly kind: string;
  readonly identity: 'd' | 'n' | 'f' | 'i';
  readonly rowfilter: string | null;
  readonly columns: readonly {
    readonly name: string;
    readonly type: string;
    readonly primary: boolean;
    readonly identity: boolean;
  }[];
}

const identities = { d: 'default', n: 'nothing', f: 'full', i: 'index' } as const;

/** A primary key that is checked late cannot tell rows apart at every moment; PostgreSQL takes none as an identity. */
const TABLE_COLUMNS = `
  c.oid::text AS oid, n.nspname AS schema, c.relname AS "table", c.relkind::text AS kind, c.relreplident::text AS identity,
  (SELECT coalesce(json_agg(json_build_object(
      'name', a.attname, 'type', a.atttypid::text,
      'primary', coalesce(a.attnum = ANY (pk.indkey), false),
      'identity', coalesce(CASE c.relreplident WHEN 'f' THEN true WHEN 'd' THEN a.attnum = ANY (pk.indkey)
                                               WHEN 'i' THEN a.attnum = ANY (ri.indkey) END, false)) ORDER BY a.attnum), '[]')
     FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND COLUMN_CONDITION) AS columns`;

const TABLE_INDEXES = `
  LEFT JOIN pg_catalog.pg_index pk ON pk.indrelid = c.oid AND pk.indisprimary AND pk.indimmediate
  LEFT JOIN pg_catalog.pg_index ri ON ri.indrelid = c.oid AND ri.indisreplident`;

function captured(row: TableRow): CapturedTable {
  const columns = row.columns.map(({ name, type, identity }) => {
    const typeOid = Number(type);
    return { name, typeOid, conversion: conversionOf(typeOid), identity };
  });
  return {
    relation: {
      oid: Number(row.oid),
      schema: row.schema,
      table: row.table,
      replicaIdentity: identities[row.identity],
      columns,
    },
    sql: qualified(row),
    partitioned: row.kind === 'p',
    primaryKey: row.columns.filter(({ primary }) => primary).map(({ name }) => name),
    filter: row.rowfilter,
  };
}

function qualified({ schema, table }: { readonly schema: string; readonly table: string }): string {
  return `${quoteIdentifier(schema, 'schema')}.${quoteIdentifier(table, 'table')}`;
}

/** The tables of the publication as they are now: in a transaction with a snapshot, as they were then. */
export async function publishedTables(
  control: Connection,
  label: string,
  publication: string,
): Promise<readonly CapturedTable[]> {
  const rows = await ask(
    control,
    label,
    `SELECT ${TABLE_COLUMNS.replace('COLUMN_CONDITION', 'a.attname = ANY (p.attnames)')}, p.rowfilter
       FROM pg_catalog.pg_publication_tables p
       JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
       JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename ${TABLE_INDEXES}
      WHERE p.pubname = $1 ORDER BY n.nspname, c.relname`,
    [publication],
  );
  return (rows as unknown as readonly TableRow[]).map(captured);
}

/** One table by the number of its relation, whatever it is called by now; null when it is gone. */
export async function primaryKeyOf(control: Connection, label: string, oid: number): Promise<readonly string[]> {
  const rows = await ask(
    control,
    label,
    `SELECT a.attname FROM pg_catalog.pg_index pk
       JOIN pg_catalog.pg_attribute a ON a.attrelid = pk.indrelid AND a.attnum = ANY (pk.indkey)
      WHERE pk.indrelid = $1::oid AND pk.indisprimary AND pk.indimmediate ORDER BY a.attnum`,
    [oid],
  );
  return rows.map((row) => String(row['attname']));
}

async function wantedTables(
  control: Connection,
  label: string,
  wanted: NonNullable<ResolvedOptions['tables']>,
): Promise<readonly CapturedTable[]> {
  const found: CapturedTable[] = [];
  for (const { schema, table } of wanted) {
    const [row] = await ask(
      control,
      label,
      `SELECT ${TABLE_COLUMNS.replace('COLUMN_CONDITION', 'true')}, NULL AS rowfilter
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ${TABLE_INDEXES}
        WHERE n.nspname = $1 AND c.relname = $2`,
      [schema, table],
    );
    const name = qualified({ schema, table });
    if (row === undefined) throw tableError(`there is no table ${name} in ${label}`, name);
    const { kind } = row as unknown as TableRow;
    if (kind !== 'r' && kind !== 'p')
      throw tableError(`${name} is no table: its rows have no changes of their own`, name);
    found.push(captured(row as unknown as TableRow));
  }
  return found;
}

function tableError(message: string, table: string): Error {
  return carillonError('CARILLON_CHANGES_TABLES', message, { table });
}

/** Once it is published, an UPDATE of a table without a replica identity fails in the application: so that is refused first. */
function assertIdentity({ relation, sql }: CapturedTable): void {
  if (relation.replicaIdentity === 'full' || relation.columns.some(({ identity }) => identity)) return;
  const message =
    `${sql} has neither a primary key nor another replica identity, so its updates and deletes cannot be told: add a ` +
    `primary key, or ALTER TABLE ${sql} REPLICA IDENTITY USING INDEX a unique index, or REPLICA IDENTITY FULL`;
  throw carillonError('CARILLON_CHANGES_IDENTITY', message, { table: sql });
}

interface PublicationState {
  readonly exists: boolean;
  /** Whether tables made later belong to it by themselves, from their first row on. */
  readonly open: boolean;
}

async function publicationState(control: Connection, label: string, publication: string): Promise<PublicationState> {
  const [row] = await ask(
    control,
    label,
    `SELECT p.puballtables OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace s WHERE s.pnpubid = p.oid) AS open
       FROM pg_catalog.pg_publication p WHERE p.pubname = $1`,
    [publication],
  );
  return { exists: row !== undefined, open: row?.['open'] === true };
}

/**
 * Makes the publication of the tables wanted; one that is there must have just them. Fails with
 * `CARILLON_CHANGES_TABLES`, `CARILLON_CHANGES_IDENTITY`, `CARILLON_DATABASE_RIGHTS`.
 */
export async function ensurePublication(control: Connection, label: string, options: ResolvedOptions): Promise<void> {
  const { publication, tables } = options;
  const { exists } = await publicationState(control, label, publication);
  const name = quoteIdentifier(publication, 'publication');
  if (tables === null) {
    if (!exists)
      throw tableError(`there is no publication ${name} in ${label}, and no tables are named to make it of`, name);
  } else {
    const wanted = await wantedTables(control, label, tables);
    for (const table of wanted) assertIdentity(table);
    if (!exists) {
      const list = wanted.map(({ sql }) => sql).join(', ');
      await ask(
        control,
        label,
        `CREATE PUBLICATION ${name} FOR TABLE ${list} WITH (publish_via_partition_root = true)`,
      );
    }
    const there = await publishedTables(control, label, publication);
    const [has, wants] = [there, wanted].map((some) =>
      some
        .map(({ sql }) => sql)
        .toSorted()
        .join(', '),
    );
    if (has !== wants) {
      throw tableError(
        `the publication ${name} has the tables ${has}, and not ${wants}; drop it or name it alone`,
        name,
      );
    }
  }
  const published = await publishedTables(control, label, publication);
  if (published.length === 0 && tables === null) {
    const { open } = await publicationState(control, label, publication);
    if (!open) throw tableError(`the publication ${name} has no tables`, name);
  }
  for (const table of published) assertIdentity(table);
}

/** Tells whether the tables are those of another time; `open` where a publication takes tables in by itself. */
export async function tablesDigest(control: Connection, label: string, options: ResolvedOptions): Promise<string> {
  const { open } = await publicationState(control, label, options.publication);
  if (open) return 'open';
  const tables = await publishedTables(control, label, options.publication);
  return createHash('sha256')
    .update(tables.map(({ sql }) => sql).join('\n'))
    .digest('hex')
    .slice(0, 16);
}
