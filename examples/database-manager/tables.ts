import { connected, type DatabaseConfig } from './database-config.ts';

/**
 * What the manager keeps in its own database, beside the schema of the bus.
 *
 * `logs` and `events` are the article's tables and answer its statements. Their further columns tell which event a row
 * is of; a row of the manager's own has them all, and stands there once.
 */
const SQL = `
CREATE SCHEMA database_manager;

CREATE TABLE database_manager.jobs (
  -- The name that the database bears while the job is at work.
  job      text PRIMARY KEY,
  kind     text NOT NULL,
  name     text NOT NULL,
  database oid,
  state    text NOT NULL CHECK (state IN ('begun', 'taken', 'done', 'failed')),
  reason   jsonb,
  changed  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.logs (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  timestamp  timestamptz NOT NULL DEFAULT now(),
  event_type text NOT NULL,
  message    text NOT NULL,
  source     text,
  event_id   text,
  handler    text,
  UNIQUE (source, event_id, handler)
);

CREATE TABLE public.events (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  title       text NOT NULL,
  description text NOT NULL,
  time        timestamptz NOT NULL,
  source      text,
  event_id    text,
  UNIQUE (source, event_id)
);
CREATE INDEX events_by_time ON public.events (time);

-- Changes a database, all or nothing, in the transaction of whoever calls. Null when it is done, else what was in the way;
-- the transaction can go on then. By its oid: a name may have passed to another database. Names come as parameters
-- and are quoted here.
CREATE FUNCTION database_manager.alter_database(an_oid oid, new_name text, new_owner text, new_limit int, allow boolean)
RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  current name := (SELECT datname FROM pg_database WHERE oid = an_oid);
  state text;
  message text;
BEGIN
  IF current IS NULL THEN
    RETURN jsonb_build_object('sqlState', '3D000', 'message', 'the database is not there any more');
  END IF;
  IF new_limit IS NOT NULL THEN EXECUTE format('ALTER DATABASE %I WITH CONNECTION LIMIT %s', current, new_limit); END IF;
  IF allow IS NOT NULL THEN EXECUTE format('ALTER DATABASE %I WITH ALLOW_CONNECTIONS %s', current, allow::text); END IF;
  IF new_name <> current THEN
    EXECUTE format('ALTER DATABASE %I RENAME TO %I', current, new_name);
    current := new_name;
  END IF;
  IF new_owner IS NOT NULL THEN EXECUTE format('ALTER DATABASE %I OWNER TO %I', current, new_owner); END IF;
  IF an_oid IS DISTINCT FROM (SELECT oid FROM pg_database WHERE datname = current) THEN
    RAISE 'the database was renamed meanwhile' USING ERRCODE = '40001';
  END IF;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
  RETURN jsonb_build_object('sqlState', state, 'message', message);
END $$;
`;

/**
 * Makes the tables, unless they are there. Processes that start at once take turns. Nothing is touched that is there: that
 * would wait for the open transaction of a process that hangs.
 */
export async function createTables(config: DatabaseConfig): Promise<void> {
  await connected(config, config.database, async (client) => {
    await client.query('BEGIN');
    await client.query("SELECT pg_advisory_xact_lock(hashtextextended('database-manager', 0))");
    const { rows } = await client.query<{ there: boolean }>(
      "SELECT to_regnamespace('database_manager') IS NOT NULL AS there",
    );
    if (rows[0]?.there !== true) await client.query(SQL);
    await client.query('COMMIT');
  });
}
