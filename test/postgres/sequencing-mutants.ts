/**
 * What `take_incoming` must not be: each replaces a part of it by what looks as good and is wrong. The first two once were
 * in the code.
 */
type Replacements = readonly (readonly [right: string, wrong: string])[];

/** Which transactions have ended is asked after it was seen what they left. */
export const horizonOfAnotherStatement: Replacements = [
  [
    ', pg_snapshot_xmin(pg_current_snapshot())\n    INTO found, appended, ended FROM visible;',
    '\n    INTO found, appended FROM visible;\n  ended := pg_snapshot_xmin(pg_current_snapshot());',
  ],
];

/** A transaction that runs is thought to have an id below the xmax of every snapshot. */
export const xmaxForTheHorizon: Replacements = [
  ['horizon := pg_current_xact_id();', 'horizon := pg_snapshot_xmax(pg_current_snapshot());'],
];

const ended = 'i.xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint';

/** The usual filter: only what was written by transactions older than all that run, in the order of their ids. */
export const xminFilter: Replacements = [
  [
    'SELECT * FROM incoming WHERE no > known.up_to AND no <= newest\n',
    `SELECT i.*, i.xmin::text::bigint AS tx FROM incoming i WHERE no > known.up_to AND no <= newest AND ${ended}\n`,
  ],
  [
    'SELECT * FROM incoming WHERE no = ANY (known.gaps)',
    `SELECT i.*, i.xmin::text::bigint AS tx FROM incoming i WHERE no = ANY (known.gaps) AND ${ended}`,
  ],
  ['row_number() OVER (ORDER BY v.no)', 'row_number() OVER (ORDER BY v.tx, v.no)'],
];
