-- Taking rows of a table `incoming` in an order in which nothing is skipped and no key is inverted, while any number of
-- transactions add to it without waiting for each other. Part of the first step of a schema that has such a table:
--
--   incoming (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ...)
--
-- One statement sees what is committed, and tells with the same snapshot which transactions had ended by then: a number
-- that is not there belongs to one that had not, and is a gap until it has. So a late commit is taken later, not
-- skipped; and of two rows of which one was added after the other had been committed, the first is never taken later.
-- To look at the rows that are there in order of their numbers would do the same, were it not for what has been removed: an
-- index goes through that again and again for as long as some transaction of the server may still see it.
--
-- Whoever adds to `incoming` must have a transaction id before its number is drawn: pg_current_xact_id(). Whoever takes
-- must be alone.

-- How far `incoming` has been taken: all numbers up to `up_to`, but for the gaps. A gap is a transaction that had not
-- ended, or has been rolled back. Its horizon is the id of a transaction younger than that one: once all before the
-- horizon have ended, it is the latter. Null until there is such an id.
CREATE TABLE sequenced (
  version  bigint PRIMARY KEY,
  up_to    bigint NOT NULL,
  gaps     bigint[] NOT NULL,
  horizons xid8[] NOT NULL
);
INSERT INTO sequenced VALUES (1, 0, '{}', '{}');

-- What there is to take, `most` new numbers at most and the gaps: the numbers found, in order, and what forget_incoming is
-- to be told. `up_to` is null when there can be nothing; `advanced` is how many numbers are new, found or not.
CREATE FUNCTION see_incoming(most int, OUT version bigint, OUT up_to bigint, OUT horizon xid8, OUT ended xid8, OUT nos bigint[],
  OUT advanced bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off AS $$
DECLARE
  known sequenced;
  newest bigint := (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM incoming_no_seq);
BEGIN
  SELECT * INTO known FROM sequenced ORDER BY sequenced.version DESC LIMIT 1;
  IF newest = known.up_to AND cardinality(known.gaps) = 0 THEN RETURN; END IF;
  version := known.version;
  up_to := least(newest, known.up_to + most);
  advanced := up_to - known.up_to;
  -- Given now, it is greater than that of whoever drew a number up to the newest. A snapshot's xmax would not do:
  -- transactions that are still running may be beyond it.
  IF pg_current_xact_id_if_assigned() IS NULL THEN horizon := pg_current_xact_id(); END IF;
  SELECT coalesce(array_agg(no ORDER BY no), '{}'), pg_snapshot_xmin(pg_current_snapshot()) INTO nos, ended
    FROM (SELECT no FROM incoming WHERE no > known.up_to AND no <= see_incoming.up_to
          UNION ALL SELECT no FROM incoming WHERE no = ANY (known.gaps)) AS visible;
END $$;

-- Removes what has been taken of what see_incoming has found, and notes how far that is.
CREATE FUNCTION forget_incoming(known_version bigint, new_up_to bigint, horizon xid8, ended xid8, nos bigint[], taken bigint[])
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off AS $$
DECLARE
  known sequenced;
BEGIN
  SELECT * INTO STRICT known FROM sequenced WHERE version = known_version;
  DELETE FROM incoming WHERE no = ANY (taken);
  INSERT INTO sequenced
  SELECT known.version + 1, new_up_to, coalesce(array_agg(gap ORDER BY gap), '{}'), coalesce(array_agg(seen ORDER BY gap), '{}')
    FROM (SELECT gap, coalesce(seen, horizon) AS seen FROM unnest(known.gaps, known.horizons) AS old(gap, seen)
          UNION ALL SELECT g, horizon FROM generate_series(known.up_to + 1, new_up_to) AS g) AS both_kinds
   WHERE gap <> ALL (taken) AND (seen IS NULL OR seen > ended OR gap = ANY (nos));
  DELETE FROM sequenced WHERE version = known.version;
END $$;
