-- The log, the places of subscriptions beside it, and the members that share both. Run with search_path set to the
-- schema; every function keeps that path, whoever calls it.
--
-- Order. Whatever appends takes the log lock first and gives positions out under it, so positions become visible in
-- their order: who has read up to a position misses nothing before it. What an application publishes in its own
-- transaction waits in `incoming`, which takes no lock, and is moved into the log by whoever appends or looks next.
--
-- Locks are advisory and end with their transaction: (lock_class(), 0) the log; (lock_class(), n) member n, shared by
-- its commits, exclusive for who declares it dead; (lock_class(), -n) the rows of subscription n. A member's
-- session holds (member_class(), n) for as long as it lives.

DO $$ BEGIN
  EXECUTE format('CREATE FUNCTION lock_class() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN %s',
    hashtext('carillon ' || current_schema()));
  EXECUTE format('CREATE FUNCTION member_class() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN %s',
    hashtext('carillon member ' || current_schema()));
END $$;

CREATE TABLE settings (
  only_one       boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  -- Positions of a segment, the part of the log that retention removes at once.
  segment_events bigint NOT NULL
);
INSERT INTO settings (segment_events) VALUES (4194304);

-- Registers, changed under the log lock alone. Sequences, because a row that changes with every commit is a chain of
-- dead ones as long as the oldest transaction of the server.
CREATE SEQUENCE positions AS bigint MINVALUE 0 START 0;
SELECT setval('positions', 0);
CREATE SEQUENCE moments AS bigint MINVALUE 0 START 0;
SELECT setval('moments', 0);

CREATE TABLE events (
  position   bigint NOT NULL,
  -- A number made of (source, id), see deduplication.ts: above 0 and rising with time for a UUIDv7, else below 0.
  dedupe     bigint NOT NULL,
  recorded   bigint NOT NULL,
  asked_by   int,
  slot       smallint NOT NULL,
  id         text NOT NULL,
  source     text NOT NULL,
  type       text NOT NULL,
  subject    text,
  time       text,
  attributes text,
  data       text,
  bytes      bytea,
  PRIMARY KEY (position)
) PARTITION BY RANGE (position);
CREATE INDEX events_by_dedupe ON events (dedupe);

CREATE TABLE segments (
  no             int PRIMARY KEY,
  first_position bigint NOT NULL,
  last_position  bigint NOT NULL,
  -- The greatest of the numbers that rise with time, in this segment and all before it; null while it is written to.
  dedupe_max     bigint
);

-- Events whose segment retention has removed, and whose deliveries are not over.
CREATE TABLE kept_events (LIKE events);
ALTER TABLE kept_events ADD PRIMARY KEY (position);

CREATE TABLE incoming (
  no         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  dedupe     bigint NOT NULL,
  slot       smallint NOT NULL,
  id         text NOT NULL,
  source     text NOT NULL,
  type       text NOT NULL,
  subject    text,
  time       text,
  attributes text,
  data       text,
  bytes      bytea
);

CREATE TABLE scheduled (
  no         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  due        bigint NOT NULL,
  dedupe     bigint NOT NULL,
  slot       smallint NOT NULL,
  id         text NOT NULL,
  source     text NOT NULL,
  type       text NOT NULL,
  subject    text,
  time       text,
  attributes text,
  data       text,
  bytes      bytea
);
CREATE INDEX scheduled_by_due ON scheduled (due, no);
CREATE INDEX scheduled_by_dedupe ON scheduled (dedupe);

CREATE TABLE subscriptions (
  no    int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name  text NOT NULL UNIQUE,
  start bigint NOT NULL
);

CREATE TABLE members (
  no      int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name    text NOT NULL,
  expires timestamptz NOT NULL,
  -- Rises with each connection it commits on: what a lost one was asked to commit is void.
  epoch   int NOT NULL DEFAULT 1
);

CREATE TABLE runners (
  subscription int NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
  member       int NOT NULL REFERENCES members ON DELETE CASCADE,
  responds     text[] NOT NULL,
  PRIMARY KEY (subscription, member)
);

CREATE TABLE shares (
  no           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  subscription int NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
  slots        smallint[] NOT NULL,
  start        bigint NOT NULL,
  -- The log's last position when it became free.
  reached      bigint NOT NULL DEFAULT 0,
  owner        int
);
CREATE INDEX shares_by_subscription ON shares (subscription);

-- The newest place of a share counts. Each is a row of its own: see the registers above.
CREATE TABLE places (
  share   bigint NOT NULL REFERENCES shares ON DELETE CASCADE,
  version bigint NOT NULL,
  state   bytea NOT NULL,
  PRIMARY KEY (share, version)
);

CREATE TABLE deliveries (
  subscription int NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
  state        smallint NOT NULL,
  slot         smallint NOT NULL,
  position     bigint NOT NULL,
  at           bigint NOT NULL,
  attempts     int NOT NULL,
  holds        boolean NOT NULL,
  key          text,
  -- A key may be longer than an index takes.
  key_hash     int GENERATED ALWAYS AS (hashtext(key)) STORED,
  records      text NOT NULL,
  data         text,
  PRIMARY KEY (subscription, position)
);
CREATE INDEX deliveries_by_state ON deliveries (subscription, state, key_hash, position);

-- Word for who holds the slot: its row was changed by another.
CREATE TABLE changes (
  no           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind         text NOT NULL,
  subscription int NOT NULL,
  slot         smallint NOT NULL,
  position     bigint NOT NULL,
  at           bigint NOT NULL,
  holds        boolean NOT NULL,
  key          text
);

-- Answers to requests, on their way to the member that asked.
CREATE TABLE answers (
  no           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  asker        int NOT NULL,
  source       text NOT NULL,
  id           text NOT NULL,
  subscription text NOT NULL,
  answer       text NOT NULL,
  made         timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX answers_by_asker ON answers (asker);

CREATE FUNCTION lock_log() RETURNS void LANGUAGE sql SET search_path FROM CURRENT AS
  'SELECT pg_advisory_xact_lock(lock_class(), 0)';

-- The next segment, after the last one. Under the log lock.
CREATE FUNCTION add_segment() RETURNS segments LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  newest segments;
  made segments;
BEGIN
  SELECT * INTO newest FROM segments ORDER BY no DESC LIMIT 1;
  made.no := coalesce(newest.no, 0) + 1;
  made.first_position := coalesce(newest.last_position, 0) + 1;
  made.last_position := made.first_position - 1 + (SELECT segment_events FROM settings);
  UPDATE segments SET dedupe_max = greatest(
      (SELECT max(dedupe) FROM events WHERE position BETWEEN newest.first_position AND newest.last_position AND dedupe > 0),
      (SELECT dedupe_max FROM segments WHERE no = newest.no - 1))
    WHERE no = newest.no;
  EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING DEFAULTS)', 'events_' || made.no);
  EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
    'events_' || made.no, made.first_position, made.last_position + 1);
  INSERT INTO segments VALUES (made.*);
  RETURN made;
END $$;
SELECT add_segment();

-- Room for n more events at the end of the log: the position before the first of them. Under the log lock.
CREATE FUNCTION make_room(n bigint) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  base bigint := (SELECT last_value FROM positions);
  newest segments;
BEGIN
  SELECT * INTO newest FROM segments ORDER BY no DESC LIMIT 1;
  -- The segment before it may have been closed early.
  base := greatest(base, newest.first_position - 1);
  WHILE base + n > newest.last_position LOOP
    newest := add_segment();
    base := newest.first_position - 1;
  END LOOP;
  RETURN base;
END $$;

-- The moment to record events at: never before that of an earlier position. Under the log lock.
CREATE FUNCTION moment_after(given bigint) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  latest bigint := (SELECT last_value FROM moments);
BEGIN
  IF given > latest THEN PERFORM setval('moments', given); END IF;
  RETURN greatest(given, latest);
END $$;

-- Where an event stands in the log, null when it is not there.
CREATE FUNCTION find_event(a_dedupe bigint, an_id text, a_source text) RETURNS bigint
LANGUAGE sql STABLE SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off AS
  'SELECT position FROM events WHERE dedupe = a_dedupe AND id = an_id AND source = a_source LIMIT 1';

-- Moves what applications have published in their own transactions into the log, a thousand numbers at most. Above 0 when
-- it has moved events or come to new numbers: then there may be more. Under the log lock. See see_incoming for what it sees.
CREATE FUNCTION take_incoming(given_moment bigint) RETURNS int
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off AS $$
DECLARE
  seen record;
  base bigint;
  moment bigint;
  appended int;
BEGIN
  SELECT * INTO seen FROM see_incoming(1000);
  IF seen.up_to IS NULL THEN RETURN 0; END IF;
  IF cardinality(seen.nos) > 0 THEN
    base := make_room(cardinality(seen.nos));
    moment := moment_after(given_moment);
    WITH visible AS MATERIALIZED (
      SELECT * FROM incoming WHERE no = ANY (seen.nos)
    ), fresh AS (
      SELECT v.*, row_number() OVER (ORDER BY v.no) AS rank FROM visible v
       WHERE NOT EXISTS (SELECT FROM events e WHERE e.dedupe = v.dedupe AND e.id = v.id AND e.source = v.source OFFSET 0)
         AND NOT EXISTS (SELECT FROM visible b WHERE b.dedupe = v.dedupe AND b.id = v.id AND b.source = v.source AND b.no < v.no)
    ), moved AS (
      INSERT INTO events (position, dedupe, recorded, slot, id, source, type, subject, time, attributes, data, bytes)
      SELECT base + rank, dedupe, moment, slot, id, source, type, subject, time, attributes, data, bytes FROM fresh
      RETURNING 1
    )
    SELECT count(*) INTO appended FROM moved;
    IF appended > 0 THEN PERFORM setval('positions', base + appended); END IF;
  END IF;
  PERFORM forget_incoming(seen.version, seen.up_to, seen.horizon, seen.ended, seen.nos, seen.nos);
  RETURN seen.advanced + cardinality(seen.nos);
END $$;

-- Publishes within the transaction of whoever calls: appended to the log once that has been committed.
CREATE FUNCTION enqueue(dedupes text, slots text, ids text, sources text, types text, subjects text, times text,
  attribute_texts text, datas text, byte_texts text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  -- Before a number is drawn: see take_incoming.
  PERFORM pg_current_xact_id();
  INSERT INTO incoming (dedupe, slot, id, source, type, subject, time, attributes, data, bytes)
  SELECT n.dedupe, n.slot, n.id, n.source, n.type, n.subject, n.time, n.attributes, n.data, decode(n.bytes, 'hex')
    FROM unnest(string_to_array(dedupes, ',')::bigint[], string_to_array(slots, ',')::smallint[],
                string_to_array(ids, E'\x01'), string_to_array(sources, E'\x01'), string_to_array(types, E'\x01'),
                string_to_array(subjects, E'\x01', E'\x02'), string_to_array(times, E'\x01', E'\x02'),
                string_to_array(attribute_texts, E'\x01', E'\x02'), string_to_array(datas, E'\x01', E'\x02'),
                string_to_array(byte_texts, E'\x01', E'\x02')) WITH ORDINALITY
         AS n(dedupe, slot, id, source, type, subject, time, attributes, data, bytes, ord)
   ORDER BY n.ord;
END $$;

-- The same for one event that is due later.
CREATE FUNCTION enqueue_scheduled(a_due bigint, a_dedupe bigint, a_slot smallint, an_id text, a_source text, a_type text,
  a_subject text, a_time text, some_attributes text, a_data text, some_bytes bytea) RETURNS void
LANGUAGE sql SET search_path FROM CURRENT AS $$
  INSERT INTO scheduled (due, dedupe, slot, id, source, type, subject, time, attributes, data, bytes)
  SELECT a_due, a_dedupe, a_slot, an_id, a_source, a_type, a_subject, a_time, some_attributes, a_data, some_bytes
   WHERE find_event(a_dedupe, an_id, a_source) IS NULL
     AND NOT EXISTS (SELECT FROM scheduled WHERE dedupe = a_dedupe AND id = an_id AND source = a_source)
$$;

-- What a subject's last event stands at, 0 for none.
CREATE FUNCTION revision_of(a_subject text) RETURNS bigint
LANGUAGE sql STABLE SET search_path FROM CURRENT SET jit = off AS $$
  SELECT coalesce((SELECT position FROM events
    WHERE hashtextextended(subject, 0) = hashtextextended(a_subject, 0) AND subject = a_subject
    ORDER BY position DESC LIMIT 1), 0)
$$;

-- The first position recorded at or after a moment; one past the last when there is none.
CREATE FUNCTION position_at(moment bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off AS $$
DECLARE
  low bigint := coalesce((SELECT position FROM events ORDER BY position LIMIT 1), 1);
  high bigint := coalesce((SELECT position FROM events ORDER BY position DESC LIMIT 1), 0) + 1;
  middle bigint;
  found record;
BEGIN
  -- Everything before `low` is earlier, everything from `high` on is not.
  WHILE low < high LOOP
    middle := (low + high) / 2;
    SELECT position, recorded INTO found FROM events WHERE position >= middle ORDER BY position LIMIT 1;
    IF found.position IS NULL OR found.position >= high THEN high := middle;
    ELSIF found.recorded >= moment THEN high := middle;
    ELSE low := found.position + 1;
    END IF;
  END LOOP;
  RETURN coalesce((SELECT position FROM events WHERE position >= low ORDER BY position LIMIT 1),
    (SELECT position + 1 FROM events ORDER BY position DESC LIMIT 1), 1);
END $$;

-- Finds the subscription, or makes it, with one share of all slots.
CREATE FUNCTION open_subscription(a_name text, from_position bigint, from_moment bigint, OUT no int, OUT start bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  SELECT s.no, s.start INTO no, start FROM subscriptions s WHERE s.name = a_name;
  IF no IS NOT NULL THEN RETURN; END IF;
  -- Nothing is appended while it is decided where it starts.
  PERFORM lock_log();
  SELECT s.no, s.start INTO no, start FROM subscriptions s WHERE s.name = a_name;
  IF no IS NOT NULL THEN RETURN; END IF;
  IF from_position > 1 AND from_position <= removed_up_to() THEN
    RAISE EXCEPTION 'retention has removed the positions up to %; % has to start after them', removed_up_to(), a_name
      USING ERRCODE = 'CA003';
  END IF;
  start := CASE
    WHEN from_position IS NOT NULL THEN greatest(0, from_position - 1)
    WHEN from_moment IS NOT NULL THEN position_at(from_moment) - 1
    ELSE coalesce((SELECT position FROM events ORDER BY position DESC LIMIT 1), 0) END;
  INSERT INTO subscriptions (name, start) VALUES (a_name, start) RETURNING subscriptions.no INTO no;
  INSERT INTO shares (subscription, slots, start) SELECT no, array_agg(s::smallint), start FROM generate_series(0, 63) AS s;
END $$;
