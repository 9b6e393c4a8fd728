import { defineEvent, typed, type EventDefinition } from '../../core/index.ts';
import type { RowChange } from './changes.ts';
import type { DefinitionChange } from './messages.ts';
import { changeType, nameToken } from './names.ts';

/** The event types of one table, for handlers: `m.handle(orders.created, ...)`. */
export interface TableEvents<Row extends object> {
  readonly created: EventDefinition<string, RowChange<Row>>;
  readonly updated: EventDefinition<string, RowChange<Row>>;
  readonly deleted: EventDefinition<string, RowChange<Row>>;
  readonly truncated: EventDefinition<string, RowChange<Row>>;
}

/**
 * Definitions of the events of one table. `Row` is the row as JSON has it (`docs/postgres-changes.md`, "Values"); it is
 * for the compiler alone: the database has checked the values.
 */
export function tableEvents<Row extends object = Record<string, unknown>>(
  database: string,
  schema: string,
  table: string,
): TableEvents<Row> {
  const define = (what: string): EventDefinition<string, RowChange<Row>> =>
    defineEvent(changeType(database, schema, table, what), { data: typed<RowChange<Row>>() });
  return {
    created: define('created'),
    updated: define('updated'),
    deleted: define('deleted'),
    truncated: define('truncated'),
  };
}

/** What an event about definitions says. */
export type DdlEvent = DefinitionChange & Pick<RowChange, 'transaction' | 'index' | 'generation' | 'actor'>;

/** The definition of the event of changed definitions (`ddl: true`). */
export function ddlEvents(database: string): EventDefinition<string, DdlEvent> {
  return defineEvent(`${nameToken(database)}.ddl`, { data: typed<DdlEvent>() });
}
