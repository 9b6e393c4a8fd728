-- Members: who shares the log, and who holds what.

CREATE FUNCTION join_members(a_name text, lease_ms int) RETURNS int LANGUAGE sql SET search_path FROM CURRENT AS $$
  INSERT INTO members (name, expires) VALUES (a_name, clock_timestamp() + lease_ms * interval '1 ms') RETURNING no
$$;

-- Whether it was alive, and is for as long again.
CREATE FUNCTION renew_member(a_member int, lease_ms int) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  -- Nobody has come for them.
  DELETE FROM answers WHERE made < clock_timestamp() - interval '1 hour';
  UPDATE members SET expires = clock_timestamp() + lease_ms * interval '1 ms' WHERE no = a_member;
  RETURN FOUND;
END $$;

-- A new connection to commit on: what the one before it was asked for is void. Waits for what it is at.
CREATE FUNCTION next_epoch(a_member int) RETURNS int LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  new_epoch int;
BEGIN
  PERFORM pg_advisory_xact_lock(lock_class(), a_member);
  UPDATE members SET epoch = epoch + 1 WHERE no = a_member RETURNING epoch INTO new_epoch;
  IF new_epoch IS NULL THEN RAISE EXCEPTION 'member % is dead to the others', a_member USING ERRCODE = 'CA001'; END IF;
  RETURN new_epoch;
END $$;

CREATE FUNCTION free_member(a_member int) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  found boolean;
BEGIN
  DELETE FROM members WHERE no = a_member;
  found := FOUND;
  UPDATE shares SET owner = NULL, reached = (SELECT last_value FROM positions) WHERE owner = a_member;
  RETURN found;
END $$;

-- Members besides this one that may be dead: their lease has run out, or nobody holds their session's lock. Nobody
-- is taken for dead in the time of one lease after the server has started, for then all have to come back first.
CREATE FUNCTION doubtful_members(a_member int, lease_ms int) RETURNS TABLE (no int, expired boolean)
LANGUAGE sql SET search_path FROM CURRENT AS $$
  SELECT m.no, m.expires < clock_timestamp()
    FROM members m
   WHERE m.no <> a_member
     AND clock_timestamp() > pg_postmaster_start_time() + lease_ms * interval '1 ms'
     AND (m.expires < clock_timestamp() OR NOT EXISTS (
           SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND l.classid = (member_class()::bigint & 4294967295)::oid AND l.objid = m.no::oid))
$$;

-- Declares a member dead, and frees what it held; whether it did. What it is committing is waited for, for a second at most:
-- then it is to be tried again. A session of it that hangs in the middle of a transaction is ended, also one that waited for
-- such a session and hangs only then.
CREATE FUNCTION bury_member(a_member int) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  tries int := 0;
BEGIN
  WHILE NOT pg_try_advisory_xact_lock(lock_class(), a_member) LOOP
    IF tries = 50 THEN RETURN false; END IF;
    tries := tries + 1;
    PERFORM pg_stat_clear_snapshot();
    PERFORM pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
      WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND l.classid = (lock_class()::bigint & 4294967295)::oid AND l.objid = a_member::oid
        AND a.state <> 'active';
    PERFORM pg_sleep(0.02);
  END LOOP;
  RETURN free_member(a_member);
END $$;

-- Takes free shares of so many slots at most. One with more is divided; both parts keep its place. What the member owns and
-- does not know of was taken by a call whose answer was lost: that is told first.
CREATE FUNCTION claim_shares(a_member int, a_subscription int, slots_max int, known bigint[])
RETURNS TABLE (no bigint, slots smallint[], start bigint, reached bigint, version bigint, state bytea)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
  share shares;
  remaining int := slots_max;
  rest bigint;
BEGIN
  PERFORM assert_member(a_member, NULL);
  PERFORM pg_advisory_xact_lock(lock_class(), -a_subscription);
  FOR share IN SELECT * FROM shares WHERE subscription = a_subscription
                  AND (owner IS NULL OR owner = a_member AND no <> ALL (known)) ORDER BY owner NULLS LAST, no LOOP
    EXIT WHEN remaining <= 0 AND share.owner IS NULL;
    IF share.owner IS NULL AND cardinality(share.slots) > remaining THEN
      INSERT INTO shares (subscription, slots, start, reached)
      VALUES (a_subscription, share.slots[remaining + 1 :], share.start, share.reached) RETURNING shares.no INTO rest;
      INSERT INTO places SELECT rest, p.version, p.state FROM places p WHERE p.share = share.no ORDER BY p.version DESC LIMIT 1;
      share.slots := share.slots[: remaining];
    END IF;
    UPDATE shares SET owner = a_member, slots = share.slots WHERE shares.no = share.no;
    remaining := remaining - cardinality(share.slots);
    RETURN QUERY SELECT share.no, share.slots, share.start, share.reached, coalesce(p.version, 0), p.state
      FROM (SELECT 1) AS one LEFT JOIN LATERAL (
        SELECT * FROM places WHERE places.share = share.no ORDER BY places.version DESC LIMIT 1) AS p ON true;
  END LOOP;
END $$;

-- Forgets what was told of the rows of these slots: whoever reads them now sees it. In one transaction with that.
CREATE FUNCTION forget_changes(a_member int, a_subscription int, some_slots smallint[]) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM assert_member(a_member, NULL);
  PERFORM pg_advisory_xact_lock(lock_class(), -a_subscription);
  DELETE FROM changes WHERE subscription = a_subscription AND slot = ANY (some_slots);
END $$;

-- Redrives or discards dead deliveries, and leaves word for who holds their slots.
CREATE FUNCTION change_dead(a_kind text, a_subscription int, some_positions bigint[], new_data text, now_ms bigint)
RETURNS bigint[] LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  found bigint[];
BEGIN
  PERFORM pg_advisory_xact_lock(lock_class(), -a_subscription);
  SELECT coalesce(array_agg(position ORDER BY position), '{}') INTO found FROM deliveries
   WHERE subscription = a_subscription AND state = 3 AND (some_positions IS NULL OR position = ANY (some_positions));
  -- One that is named and not there: nothing is done.
  IF cardinality(found) < cardinality(some_positions) THEN RETURN found; END IF;
  INSERT INTO changes (kind, subscription, slot, position, at, holds, key)
  SELECT a_kind, subscription, slot, position, now_ms, holds, key FROM deliveries
   WHERE subscription = a_subscription AND position = ANY (found) ORDER BY position;
  IF a_kind = 'discard' THEN
    DELETE FROM deliveries WHERE subscription = a_subscription AND position = ANY (found);
  ELSE
    UPDATE deliveries SET state = 0, attempts = 0, at = now_ms, holds = false, data = coalesce(new_data, data)
     WHERE subscription = a_subscription AND position = ANY (found);
  END IF;
  RETURN found;
END $$;

-- What others have changed of the rows that a member holds. Those it has seen are forgotten.
CREATE FUNCTION take_changes(a_member int, seen bigint[])
RETURNS TABLE (no bigint, kind text, subscription int, slot smallint, "position" bigint, at bigint, holds boolean, key text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
  IF NOT EXISTS (SELECT FROM changes) THEN RETURN; END IF;
  PERFORM assert_member(a_member, NULL);
  DELETE FROM changes c WHERE c.no = ANY (seen);
  RETURN QUERY SELECT c.no, c.kind, c.subscription, c.slot, c.position, c.at, c.holds, c.key
    FROM changes c JOIN shares s ON s.owner = a_member AND s.subscription = c.subscription AND c.slot = ANY (s.slots)
   ORDER BY c.no;
END $$;

-- How far the log has come, when the next scheduled event is due, how many share it, and whether there is word for them.
-- Moves what waits into the log, ten thousand numbers at most; whether there was any.
CREATE FUNCTION look(given_moment bigint, an_asker int, OUT last bigint, OUT removed bigint, OUT next_due bigint, OUT members int,
  OUT moved boolean, OUT changed boolean, OUT answered boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  moved := false;
  IF (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM incoming_no_seq)
     <> (SELECT up_to FROM sequenced ORDER BY version DESC LIMIT 1)
     OR (SELECT cardinality(gaps) > 0 FROM sequenced ORDER BY version DESC LIMIT 1) THEN
    PERFORM lock_log();
    FOR i IN 1 .. 10 LOOP
      EXIT WHEN take_incoming(given_moment) = 0;
      moved := true;
    END LOOP;
  END IF;
  -- Of what is visible: in the register there may be positions of a commit that is still under way.
  last := coalesce((SELECT position FROM events ORDER BY position DESC LIMIT 1), 0);
  removed := removed_up_to();
  next_due := (SELECT due FROM scheduled ORDER BY due, no LIMIT 1);
  members := (SELECT count(*) FROM members);
  changed := EXISTS (SELECT FROM changes);
  answered := EXISTS (SELECT FROM answers WHERE asker = an_asker);
END $$;
