import type { Connection } from '../../postgres/index.ts';
import { quoteIdentifier, quoteLiteral } from '../../postgres/index.ts';
import type { Changes } from './changes.ts';
import { setMember, type Row } from './pgoutput.ts';
import { refusal } from './replication.ts';
import { ask, publishedTables, type CapturedTable } from './tables.ts';
import { convert, SHOWN_AS } from './values.ts';

/** Rows fetched at once. */
const FETCH_ROWS = 1000;

/** Values stay the text that the server shows, as in the stream. */
const asText = { getTypeParser: () => (text: string) => text };

/**
 * The rows as they were when the slot was made, told as changes. Opens the snapshot before it returns; until then the
 * connection that made the slot must stay as it is.
 */
export class Snapshot {
  readonly control: Connection;
  readonly label: string;
  readonly publication: string;

  constructor(control: Connection, label: string, publication: string) {
    this.control = control;
    this.label = label;
    this.publication = publication;
  }

  async open(name: string): Promise<void> {
    const { control, label } = this;
    await ask(control, label, 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await ask(control, label, `SET TRANSACTION SNAPSHOT ${quoteLiteral(name).trim()}`);
    for (const setting of SHOWN_AS.split('; ')) await ask(control, label, setting);
    // A policy would leave rows out without a word; this makes it an error.
    await ask(control, label, 'SET LOCAL row_security = off');
  }

  /** @param room resolves when more may be told. Returns the number of rows. */
  async tell(changes: Changes, room: () => Promise<void>): Promise<number> {
    const { control, label, publication } = this;
    const tables = await publishedTables(control, label, publication);
    let count = 0;
    for (const table of tables) {
      changes.relation(table.relation);
      count += await this.tellTable(table, changes, room);
    }
    await ask(control, label, 'COMMIT');
    return count;
  }

  async tellTable(table: CapturedTable, changes: Changes, room: () => Promise<void>): Promise<number> {
    const { control, label } = this;
    const { columns } = table.relation;
    const list = columns.map(({ name }) => quoteIdentifier(name, 'column')).join(', ');
    const where = table.filter === null ? '' : ` WHERE ${table.filter}`;
    const from = `${table.partitioned ? '' : 'ONLY '}${table.sql}`;
    await ask(control, label, `DECLARE carillon_rows NO SCROLL CURSOR FOR SELECT ${list} FROM ${from}${where}`);
    const fetch = { text: `FETCH ${FETCH_ROWS} FROM carillon_rows`, rowMode: 'array' as const, types: asText };
    let count = 0;
    for (;;) {
      const rows = await control.query(fetch).then(
        (answer) => answer.rows as unknown as readonly (readonly (string | null)[])[],
        (error: unknown) => {
          throw refusal(error, label);
        },
      );
      for (const values of rows) {
        const row: Row = {};
        let size = 0;
        columns.forEach(({ name, conversion }, index) => {
          const text = values[index] ?? null;
          size += text?.length ?? 0;
          setMember(row, name, text === null ? null : convert(conversion, text));
        });
        changes.size = size;
        changes.insert(table.relation, { row, unchanged: null });
      }
      count += rows.length;
      if (rows.length < FETCH_ROWS) break;
      await room();
    }
    await ask(control, label, 'CLOSE carillon_rows');
    return count;
  }
}
