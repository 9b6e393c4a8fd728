-- The outbox: events that applications publish within their own transactions, until the relay has published them to the
-- bus. Run with search_path set to the schema; every function keeps that path, whoever calls it.

CREATE TABLE incoming (
  no    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- In the CloudEvents JSON format.
  event text NOT NULL
);

-- A transaction id before a number is drawn, whoever inserts: see sequencing.sql.
CREATE FUNCTION before_incoming() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM pg_current_xact_id();
  RETURN NULL;
END $$;
CREATE TRIGGER before_incoming BEFORE INSERT ON incoming FOR EACH STATEMENT EXECUTE FUNCTION before_incoming();

-- What the bus would not have, and why.
CREATE TABLE refused (
  no      bigint PRIMARY KEY,
  event   text NOT NULL,
  code    text NOT NULL,
  message text NOT NULL,
  refused timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Publishes an event within the transaction of whoever calls.
CREATE FUNCTION publish(event json) RETURNS void LANGUAGE sql SET search_path FROM CURRENT AS
  'INSERT INTO incoming (event) SELECT event::text';

-- The same for several, in their order.
CREATE FUNCTION publish_all(events text[]) RETURNS void LANGUAGE sql SET search_path FROM CURRENT AS
  'INSERT INTO incoming (event) SELECT given.event FROM unnest(events) WITH ORDINALITY AS given(event, at) ORDER BY given.at';

-- Publishes again what was refused, mended perhaps; whether it was there. It comes after all that is there now.
CREATE FUNCTION publish_refused(a_no bigint, mended json DEFAULT NULL) RETURNS boolean
LANGUAGE sql SET search_path FROM CURRENT AS $$
  WITH gone AS (DELETE FROM refused WHERE no = a_no RETURNING event),
       back AS (INSERT INTO incoming (event) SELECT coalesce(mended::text, event) FROM gone RETURNING 1)
  SELECT EXISTS (SELECT FROM back)
$$;

-- Of the events found, in order, as many as fit a size, and one at least.
CREATE FUNCTION read_incoming(found bigint[], bytes_max bigint) RETURNS TABLE (no bigint, event text)
LANGUAGE sql STABLE SET search_path FROM CURRENT SET enable_seqscan = off AS $$
  SELECT s.no, s.event FROM (
    SELECT i.no, i.event, sum(octet_length(i.event)) OVER (ORDER BY i.no) AS size, row_number() OVER (ORDER BY i.no) AS rank
      FROM incoming i WHERE i.no = ANY (found)) AS s
   WHERE s.size <= bytes_max OR s.rank = 1 ORDER BY s.no
$$;

-- Removes what the bus has, or would not have. Unless that is all, only so far is gone: the rest is found again.
CREATE FUNCTION settle(known_version bigint, new_up_to bigint, horizon xid8, ended xid8, nos bigint[], taken bigint[],
  refused_nos bigint[], codes text[], messages text[]) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO refused (no, event, code, message)
  SELECT r.no, i.event, r.code, r.message
    FROM unnest(refused_nos, codes, messages) AS r(no, code, message) JOIN incoming i ON i.no = r.no;
  IF cardinality(taken) < cardinality(nos) THEN
    new_up_to := greatest((SELECT up_to FROM sequenced WHERE version = known_version), (SELECT max(no) FROM unnest(taken) AS no));
  END IF;
  PERFORM forget_incoming(known_version, new_up_to, horizon, ended, nos, taken);
END $$;
