/**
 * What `see_incoming` and `take_incoming` must not be: each replaces a part of it by what looks as good and is wrong. The first two once were
 * in the code.
 */
type Replacements = readonly (readonly [right: string, wrong: string])[];

const SEEN = 'WHERE no = ANY (known.gaps)) AS visible;';
/** Whoever holds this lock holds the sequencer up once it has seen what there is. */
export const SEEN_LOCK = 4711;
const heldUp = `${SEEN}\n  PERFORM pg_advisory_xact_lock(${SEEN_LOCK});`;

/** No mutant: lets a test hold the sequencer up. */
export const heldUpOnceSeen: Replacements = [[SEEN, heldUp]];

/** Which transactions have ended is asked after it was seen what they left. */
export const horizonOfAnotherStatement: Replacements = [
  [', pg_snapshot_xmin(pg_current_snapshot()) INTO nos, ended\n', ' INTO nos\n'],
  [SEEN, `${heldUp}\n  ended := pg_snapshot_xmin(pg_current_snapshot());`],
];

/** A transaction that runs is thought to have an id below the xmax of every snapshot. */
export const xmaxForTheHorizon: Replacements = [
  ['horizon := pg_current_xact_id();', 'horizon := pg_snapshot_xmax(pg_current_snapshot());'],
];

const ended = 'i.xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint';

/** The usual filter: only what was written by transactions older than all that run, in the order of their ids. */
export const xminFilterSeen: Replacements = [
  ['SELECT no FROM incoming WHERE no > known.up_to', `SELECT no FROM incoming i WHERE ${ended} AND no > known.up_to`],
  [
    'SELECT no FROM incoming WHERE no = ANY (known.gaps)',
    `SELECT no FROM incoming i WHERE ${ended} AND no = ANY (known.gaps)`,
  ],
];
export const xminFilterTaken: Replacements = [
  [
    'SELECT * FROM incoming WHERE no = ANY (seen.nos)',
    'SELECT i.*, i.xmin::text::bigint AS tx FROM incoming i WHERE no = ANY (seen.nos)',
  ],
  ['row_number() OVER (ORDER BY v.no)', 'row_number() OVER (ORDER BY v.tx, v.no)'],
];
