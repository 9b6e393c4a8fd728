-- What a process commits, in one call and one transaction. Lists of events come as texts, one for each column, with
-- E'\x01' between the values and E'\x02' for none: neither can stand in an event, and PostgreSQL takes such a text apart
-- faster than a client can put together an array.

-- Adds the ids of some events to the log, unless they are there; for when some may be, or a unit may be refused. Each
-- position, negative for a duplicate, 0 for what was refused. Under the log lock.
CREATE FUNCTION append_carefully(given_moment bigint, dedupes bigint[], slots smallint[], ids text[], sources text[],
  types text[], subjects text[], times text[], attribute_texts text[], datas text[], byte_texts text[], asked int[],
  units jsonb, OUT positions bigint[], OUT refused jsonb)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off AS $$
DECLARE
  unit record;
  at int := 0;
  moment bigint := moment_after(given_moment);
  base bigint;
  known bigint;
  actual bigint;
  reason jsonb;
BEGIN
  positions := '{}';
  refused := '[]';
  FOR unit IN
    SELECT ordinality - 1 AS no, u->>'events' AS events, u->>'expected' AS expected, u->>'subject' AS subject,
           u->>'scheduled' AS scheduled
      FROM jsonb_array_elements(coalesce(units, jsonb_build_array(jsonb_build_object('events', cardinality(ids)))))
           WITH ORDINALITY AS list(u, ordinality)
  LOOP
    reason := NULL;
    IF unit.scheduled IS NOT NULL THEN
      DELETE FROM scheduled WHERE no = unit.scheduled::bigint;
      IF NOT FOUND THEN reason := '{"kind": "cancelled"}'; END IF;
    -- A repeated publish found itself: whatever came after it, it went through.
    ELSIF unit.expected IS NOT NULL AND find_event(dedupes[at + 1], ids[at + 1], sources[at + 1]) IS NULL THEN
      actual := revision_of(coalesce(unit.subject, ''));
      IF actual <> unit.expected::bigint THEN reason := jsonb_build_object('kind', 'revision', 'actual', actual); END IF;
    END IF;
    IF reason IS NOT NULL THEN
      refused := refused || jsonb_build_object('unit', unit.no, 'reason', reason);
    END IF;
    FOR i IN at + 1 .. at + unit.events::int LOOP
      IF reason IS NOT NULL THEN
        positions := positions || 0::bigint;
        CONTINUE;
      END IF;
      known := find_event(dedupes[i], ids[i], sources[i]);
      IF known IS NOT NULL THEN
        positions := positions || -known;
        CONTINUE;
      END IF;
      base := make_room(1);
      INSERT INTO events (position, dedupe, recorded, asked_by, slot, id, source, type, subject, time, attributes, data, bytes)
      VALUES (base + 1, dedupes[i], moment, asked[i], slots[i], ids[i], sources[i], types[i], subjects[i], times[i],
              attribute_texts[i], datas[i], decode(byte_texts[i], 'hex'));
      PERFORM setval('positions', base + 1);
      positions := positions || base + 1;
    END LOOP;
    at := at + unit.events::int;
  END LOOP;
END $$;

-- Appends events of which none is refused. Null positions: none was there, and they follow each other from `first` on.
-- Under the log lock.
CREATE FUNCTION append(given_moment bigint, dedupes bigint[], slots smallint[], ids text[], sources text[], types text[],
  subjects text[], times text[], attribute_texts text[], datas text[], byte_texts text[], asked int[], apart boolean,
  OUT first bigint, OUT positions bigint[])
LANGUAGE plpgsql
SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  n int := cardinality(ids);
  newest segments;
  older bigint;
  highest bigint;
  base bigint;
  moment bigint;
BEGIN
  base := make_room(n);
  SELECT * INTO newest FROM segments ORDER BY no DESC LIMIT 1;
  -- Numbers above it are not there: nearly all of them, because most rise with time.
  highest := (SELECT dedupe FROM events WHERE position >= newest.first_position ORDER BY dedupe DESC LIMIT 1);
  SELECT dedupe_max INTO older FROM segments WHERE no = newest.no - 1;
  IF NOT apart
     OR EXISTS (SELECT FROM unnest(dedupes, ids, sources) AS g(d, i, s), LATERAL (
          SELECT FROM events e WHERE e.position >= newest.first_position AND e.dedupe = g.d AND e.id = g.i AND e.source = g.s
          OFFSET 0) AS there WHERE g.d <= highest)
     OR (newest.no > 1 AND EXISTS (SELECT FROM unnest(dedupes, ids, sources) AS g(d, i, s), LATERAL (
          SELECT FROM events e WHERE e.position < newest.first_position AND e.dedupe = g.d AND e.id = g.i AND e.source = g.s
          OFFSET 0) AS there WHERE g.d < 0 OR g.d <= older))
  THEN
    SELECT c.positions INTO positions FROM append_carefully(given_moment, dedupes, slots, ids, sources, types, subjects,
      times, attribute_texts, datas, byte_texts, asked, NULL) AS c;
    RETURN;
  END IF;
  moment := moment_after(given_moment);
  INSERT INTO events (position, dedupe, recorded, asked_by, slot, id, source, type, subject, time, attributes, data, bytes)
  SELECT base + g.ord, g.dedupe, moment, g.asked, g.slot, g.id, g.source, g.type, g.subject, g.time, g.attributes, g.data,
         decode(g.bytes, 'hex')
    FROM unnest(dedupes, slots, ids, sources, types, subjects, times, attribute_texts, datas, byte_texts, asked)
         WITH ORDINALITY AS g(dedupe, slot, id, source, type, subject, time, attributes, data, bytes, asked, ord);
  PERFORM setval('positions', base + n);
  first := base + 1;
END $$;

-- Keeps events for later, unless they are there or in the log: for each null, or where it is and when it is due.
-- Under the log lock.
CREATE FUNCTION keep_scheduled(list jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off AS $$
DECLARE
  one record;
  known bigint;
  waiting bigint;
  answers jsonb := '[]';
BEGIN
  FOR one IN SELECT * FROM jsonb_to_recordset(list) AS r(due bigint, dedupe bigint, slot smallint, id text, source text,
    type text, subject text, time text, attributes text, data text, bytes text)
  LOOP
    known := find_event(one.dedupe, one.id, one.source);
    SELECT due INTO waiting FROM scheduled WHERE dedupe = one.dedupe AND id = one.id AND source = one.source;
    IF known IS NOT NULL THEN
      answers := answers || jsonb_build_object('position', known, 'dueMs', 0);
    ELSIF waiting IS NOT NULL THEN
      answers := answers || jsonb_build_object('position', 0, 'dueMs', waiting);
    ELSE
      INSERT INTO scheduled (due, dedupe, slot, id, source, type, subject, time, attributes, data, bytes)
      VALUES (one.due, one.dedupe, one.slot, one.id, one.source, one.type, one.subject, one.time, one.attributes, one.data,
              decode(one.bytes, 'hex'));
      answers := answers || 'null'::jsonb;
    END IF;
  END LOOP;
  RETURN answers;
END $$;

-- Whether these arrangements were made before, and nobody was told: what they replace is gone.
CREATE FUNCTION is_arranged(a_member int, list jsonb) RETURNS boolean LANGUAGE sql SET search_path FROM CURRENT AS $$
  SELECT NOT EXISTS (SELECT FROM shares s, jsonb_array_elements(list) AS one, jsonb_array_elements_text(one->'held') AS h
                      WHERE s.no = h::bigint AND s.owner = a_member)
$$;

-- One share of the slots that a member keeps, one free one of those it gives up, in place of those it says it holds. Made
-- again, the share it keeps is found, with the newer place; the free one may be another's by now.
CREATE FUNCTION arrange(a_member int, list jsonb) RETURNS bigint[] LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  one jsonb;
  of_subscription int;
  kept_slots smallint[];
  freed_slots smallint[];
  made bigint;
  kept bigint[] := '{}';
  newest bigint := (SELECT last_value FROM positions);
BEGIN
  FOR one IN SELECT * FROM jsonb_array_elements(list) LOOP
    of_subscription := one->>'subscription';
    kept_slots := (SELECT array_agg(s::smallint) FROM jsonb_array_elements_text(one->'kept'->'slots') AS s);
    freed_slots := (SELECT array_agg(s::smallint) FROM jsonb_array_elements_text(one->'freed'->'slots') AS s);
    made := NULL;
    DELETE FROM shares WHERE owner = a_member AND no IN (SELECT h::bigint FROM jsonb_array_elements_text(one->'held') AS h);
    IF FOUND THEN
      IF freed_slots IS NOT NULL THEN
        INSERT INTO shares (subscription, slots, start, reached) VALUES (of_subscription, freed_slots, 0, newest)
          RETURNING no INTO made;
        INSERT INTO places VALUES (made, 1, decode(one->'freed'->>'state', 'hex'));
        made := NULL;
      END IF;
      IF kept_slots IS NOT NULL THEN
        INSERT INTO shares (subscription, slots, start, owner) VALUES (of_subscription, kept_slots, 0, a_member)
          RETURNING no INTO made;
        INSERT INTO places VALUES (made, 1, decode(one->'kept'->>'state', 'hex'));
      END IF;
    ELSIF kept_slots IS NOT NULL THEN
      SELECT no INTO made FROM shares WHERE subscription = of_subscription AND owner = a_member AND slots = kept_slots;
      IF made IS NULL THEN
        RAISE EXCEPTION 'member % does not hold what it arranges', a_member USING ERRCODE = 'CA001';
      END IF;
      UPDATE places SET state = decode(one->'kept'->>'state', 'hex') WHERE share = made AND version = 1;
    END IF;
    kept := kept || made;
  END LOOP;
  RETURN kept;
END $$;

-- Fails with CA001 unless the member is alive, and keeps it so until the transaction ends.
CREATE FUNCTION assert_member(a_member int, an_epoch int) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(lock_class(), a_member);
  PERFORM FROM members WHERE no = a_member AND (an_epoch IS NULL OR epoch = an_epoch);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'member % is dead to the others', a_member USING ERRCODE = 'CA001';
  END IF;
END $$;

CREATE FUNCTION owns_slot(a_member int, a_subscription int, a_slot smallint) RETURNS boolean LANGUAGE sql STABLE
SET search_path FROM CURRENT AS $$
  SELECT EXISTS (SELECT FROM shares WHERE subscription = a_subscription AND owner = a_member AND a_slot = ANY (slots))
$$;

-- With an owner: only those in slots that it owns.
CREATE FUNCTION write_deliveries(put jsonb, removed jsonb, an_owner int) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF removed IS NOT NULL THEN
    DELETE FROM deliveries d USING jsonb_to_recordset(removed) AS r(s int, p bigint)
     WHERE d.subscription = r.s AND d.position = r.p AND (an_owner IS NULL OR owns_slot(an_owner, d.subscription, d.slot));
  END IF;
  IF put IS NOT NULL THEN
    INSERT INTO deliveries (subscription, position, slot, state, holds, attempts, at, key, records, data)
    SELECT s, p, slot, state, holds, attempts, at, key, records, data
      FROM jsonb_to_recordset(put) AS r(s int, p bigint, slot smallint, state smallint, holds boolean, attempts int, at bigint,
           key text, records text, data text)
     WHERE an_owner IS NULL OR owns_slot(an_owner, s, slot)
    ON CONFLICT (subscription, position) DO UPDATE SET state = excluded.state, holds = excluded.holds,
      attempts = excluded.attempts, at = excluded.at, key = excluded.key, records = excluded.records, data = excluded.data;
  END IF;
END $$;

-- Of the places before these, all but the last few dozen of each share.
CREATE FUNCTION write_places(given_shares bigint[], versions bigint[], states bytea[]) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO places SELECT * FROM unnest(given_shares, versions, states) ON CONFLICT DO NOTHING;
  FOR i IN 1 .. cardinality(versions) LOOP
    IF versions[i] % 64 = 0 THEN
      -- Bounded below: further down lie rows removed already, which an index goes through as long as some transaction of
      -- the server may still see them.
      DELETE FROM places WHERE share = given_shares[i] AND version >= versions[i] - 128 AND version < versions[i] - 63;
    END IF;
  END LOOP;
END $$;

-- Commits are sent before those before them are answered. Each has its number among those of its connection, and is refused
-- with CA002 unless the one before it was applied: the setting is taken back with the transaction that it was set in.
CREATE FUNCTION commit(a_number bigint, a_member int, an_epoch int, given_moment bigint,
  dedupe_text text, slot_text text, id_text text, source_text text, type_text text, subject_text text, time_text text,
  attribute_text text, data_text text, byte_text text, asked_text text, apart boolean, units jsonb,
  given_shares bigint[], versions bigint[], states bytea[], put jsonb, removed jsonb, schedule jsonb, unschedule jsonb,
  arrangements jsonb, given_answers jsonb,
  OUT before bigint, OUT moment bigint, OUT first bigint, OUT positions bigint[], OUT refused jsonb, OUT scheduled jsonb,
  OUT unscheduled boolean[], OUT arranged bigint[])
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  ids text[];
BEGIN
  IF a_number IS NOT NULL THEN
    IF coalesce(nullif(current_setting('carillon.commits', true), ''), '0')::bigint <> a_number - 1 THEN
      RAISE EXCEPTION 'the commit before number % was not applied', a_number USING ERRCODE = 'CA002';
    END IF;
    PERFORM set_config('carillon.commits', a_number::text, false);
  END IF;
  IF a_member IS NOT NULL THEN PERFORM assert_member(a_member, an_epoch); END IF;
  IF id_text IS NOT NULL OR schedule IS NOT NULL OR unschedule IS NOT NULL THEN PERFORM lock_log(); END IF;
  IF id_text IS NOT NULL THEN
    -- What was committed before comes before.
    WHILE take_incoming(given_moment) > 0 LOOP NULL; END LOOP;
    before := (SELECT last_value FROM positions);
    ids := string_to_array(id_text, E'\x01');
    IF units IS NULL THEN
      SELECT a.first, a.positions INTO first, positions
        FROM append(given_moment, string_to_array(dedupe_text, ',')::bigint[], string_to_array(slot_text, ',')::smallint[], ids,
          string_to_array(source_text, E'\x01'), string_to_array(type_text, E'\x01'),
          string_to_array(subject_text, E'\x01', E'\x02'), string_to_array(time_text, E'\x01', E'\x02'),
          string_to_array(attribute_text, E'\x01', E'\x02'), string_to_array(data_text, E'\x01', E'\x02'),
          string_to_array(byte_text, E'\x01', E'\x02'), string_to_array(asked_text, E'\x01', E'\x02')::int[], apart) AS a;
    ELSE
      SELECT a.positions, a.refused INTO positions, refused
        FROM append_carefully(given_moment, string_to_array(dedupe_text, ',')::bigint[],
          string_to_array(slot_text, ',')::smallint[], ids,
          string_to_array(source_text, E'\x01'), string_to_array(type_text, E'\x01'),
          string_to_array(subject_text, E'\x01', E'\x02'), string_to_array(time_text, E'\x01', E'\x02'),
          string_to_array(attribute_text, E'\x01', E'\x02'), string_to_array(data_text, E'\x01', E'\x02'),
          string_to_array(byte_text, E'\x01', E'\x02'), string_to_array(asked_text, E'\x01', E'\x02')::int[], units) AS a;
    END IF;
    moment := (SELECT last_value FROM moments);
  END IF;
  IF given_shares IS NOT NULL THEN PERFORM write_places(given_shares, versions, states); END IF;
  IF put IS NOT NULL OR removed IS NOT NULL THEN
    -- Slots that were given up when this was made before may have another owner, who has written since.
    PERFORM write_deliveries(put, removed,
      CASE WHEN arrangements IS NOT NULL AND is_arranged(a_member, arrangements) THEN a_member END);
  END IF;
  IF schedule IS NOT NULL THEN scheduled := keep_scheduled(schedule); END IF;
  IF unschedule IS NOT NULL THEN
    WITH gone AS (
      DELETE FROM scheduled s USING jsonb_to_recordset(unschedule) AS u(source text, id text, dedupe bigint)
       WHERE s.dedupe = u.dedupe AND s.id = u.id AND s.source = u.source RETURNING s.source, s.id
    )
    SELECT array_agg(EXISTS (SELECT FROM gone g WHERE g.source = u->>'source' AND g.id = u->>'id') ORDER BY ord) INTO unscheduled
      FROM jsonb_array_elements(unschedule) WITH ORDINALITY AS list(u, ord);
  END IF;
  IF arrangements IS NOT NULL THEN arranged := arrange(a_member, arrangements); END IF;
  IF given_answers IS NOT NULL THEN
    INSERT INTO answers (asker, source, id, subscription, answer)
    SELECT asker, source, id, subscription, answer
      FROM jsonb_to_recordset(given_answers) AS r(asker int, source text, id text, subscription text, answer text);
  END IF;
END $$;
