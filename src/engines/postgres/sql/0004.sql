-- Retention: segments are removed whole, the oldest first, and never the one that is written to.

-- Segments, the oldest first: the moment of the newest event, null for none, and what the segment takes on disk.
CREATE FUNCTION segments_told() RETURNS TABLE (no int, last_position bigint, newest bigint, bytes bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
  segment segments;
BEGIN
  FOR segment IN SELECT * FROM segments ORDER BY no LOOP
    no := segment.no;
    last_position := segment.last_position;
    EXECUTE format('SELECT recorded FROM %I ORDER BY position DESC LIMIT 1', 'events_' || segment.no) INTO newest;
    bytes := pg_total_relation_size(format('%I', 'events_' || segment.no)::regclass);
    RETURN NEXT;
  END LOOP;
END $$;

-- The next event goes into a new segment, so that this one can be removed some day. The positions it did not use are
-- given to nobody.
CREATE FUNCTION close_segment(a_no int) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM lock_log();
  IF a_no = (SELECT max(no) FROM segments) THEN PERFORM add_segment(); END IF;
END $$;

-- Removes the oldest segment; whether it was there and not the one that is written to. Events whose deliveries are not over are
-- kept beside the log until they are. Waits half a second at most for who reads the log: everybody would wait behind it.
CREATE FUNCTION remove_segment(a_no int) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  oldest segments;
BEGIN
  PERFORM lock_log();
  SELECT * INTO oldest FROM segments ORDER BY no LIMIT 1;
  IF oldest.no <> a_no OR a_no = (SELECT max(no) FROM segments) THEN RETURN false; END IF;
  PERFORM set_config('lock_timeout', '500ms', true);
  INSERT INTO kept_events SELECT e.* FROM events e
   WHERE e.position BETWEEN oldest.first_position AND oldest.last_position
     AND e.position IN (SELECT d.position FROM deliveries d WHERE d.position BETWEEN oldest.first_position AND oldest.last_position);
  EXECUTE format('DROP TABLE %I', 'events_' || a_no);
  DELETE FROM segments WHERE no = a_no;
  RETURN true;
END $$;

-- Forgets the events kept for deliveries that are over by now.
CREATE FUNCTION forget_kept() RETURNS void LANGUAGE sql SET search_path FROM CURRENT AS
  'DELETE FROM kept_events k WHERE NOT EXISTS (SELECT FROM deliveries d WHERE d.position = k.position)';

-- Positions up to this one have been removed.
CREATE FUNCTION removed_up_to() RETURNS bigint LANGUAGE sql STABLE SET search_path FROM CURRENT AS
  'SELECT coalesce((SELECT first_position FROM segments ORDER BY no LIMIT 1), 1) - 1';
