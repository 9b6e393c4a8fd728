import { reviveEvent, type Event } from '../../core/index.ts';
import { nameToken } from './names.ts';

/** Prefixes of the logical messages that mean something here; all others are somebody else's. */
export const ACTOR_PREFIX: string = 'carillon:actor';
export const DDL_PREFIX: string = 'carillon:ddl';
export const HEARTBEAT_PREFIX: string = 'carillon:heartbeat';

/** Told outside of transactions, so that it does not wait for one. */
export const HEARTBEAT_SQL: string = `SELECT pg_catalog.pg_logical_emit_message(false, '${HEARTBEAT_PREFIX}', '')`;

/** A change of the database's own structure. */
export interface DefinitionChange {
  /** `ALTER TABLE`, `DROP INDEX`, ... */
  readonly command: string;
  /** `table`, `index`, ... */
  readonly object: string;
  readonly schema: string | null;
  /** The object as PostgreSQL names it, quoted where that is needed. */
  readonly identity: string;
  readonly dropped: boolean;
  /** What was sent to the server; null for kinds of objects whose statements hold passwords. */
  readonly statement: string | null;
}

export function ddlEvent(
  attributes: { readonly id: string; readonly source: string; readonly time: string },
  database: string,
  content: string,
  told: object,
): Event {
  const change = JSON.parse(content) as DefinitionChange;
  const subject = `ddl/${encodeURIComponent(change.identity)}`;
  return reviveEvent({ ...attributes, type: `${nameToken(database)}.ddl`, subject }, { ...change, ...told });
}

/**
 * Tells of definitions through logical messages, so that each comes between the rows before and after it. Kept out of
 * the message: temporary objects, what extensions make for themselves, and statements that may hold passwords.
 */
export const DDL_SQL: readonly string[] = [
  'CREATE SCHEMA IF NOT EXISTS carillon_changes',
  `CREATE OR REPLACE FUNCTION carillon_changes.tell_ddl() RETURNS event_trigger LANGUAGE plpgsql
   SET search_path = pg_catalog AS $carillon$
   DECLARE
     change record;
     secret CONSTANT boolean := tg_tag ~ '(SUBSCRIPTION|SERVER|USER MAPPING|FOREIGN)';
   BEGIN
     IF tg_event = 'sql_drop' THEN
       FOR change IN
         SELECT object_type, schema_name, object_identity FROM pg_event_trigger_dropped_objects()
          WHERE original AND NOT is_temporary
       LOOP
         PERFORM pg_logical_emit_message(true, '${DDL_PREFIX}', json_build_object(
           'command', tg_tag, 'object', change.object_type, 'schema', change.schema_name,
           'identity', change.object_identity, 'dropped', true,
           'statement', CASE WHEN NOT secret THEN current_query() END)::text);
       END LOOP;
     ELSE
       FOR change IN
         SELECT object_type, schema_name, object_identity, command_tag FROM pg_event_trigger_ddl_commands()
          WHERE NOT in_extension AND schema_name IS DISTINCT FROM 'pg_temp'
       LOOP
         PERFORM pg_logical_emit_message(true, '${DDL_PREFIX}', json_build_object(
           'command', change.command_tag, 'object', change.object_type, 'schema', change.schema_name,
           'identity', change.object_identity, 'dropped', false,
           'statement', CASE WHEN NOT secret THEN current_query() END)::text);
       END LOOP;
     END IF;
   END $carillon$`,
  'DROP EVENT TRIGGER IF EXISTS carillon_changes_ddl',
  'DROP EVENT TRIGGER IF EXISTS carillon_changes_drop',
  'CREATE EVENT TRIGGER carillon_changes_ddl ON ddl_command_end EXECUTE FUNCTION carillon_changes.tell_ddl()',
  'CREATE EVENT TRIGGER carillon_changes_drop ON sql_drop EXECUTE FUNCTION carillon_changes.tell_ddl()',
];
