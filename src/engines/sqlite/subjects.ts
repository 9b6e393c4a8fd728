import type { Database, Statement } from './binding.ts';

/**
 * Which positions a subject has, for `expectedRevision` and reads by subject. Most applications ask for neither, and an
 * index on the subject would halve everybody's throughput; so it is built behind the log, from the first use of
 * `expectedRevision` on, and brought up to date when it is asked.
 *
 * States: `absent` → `kept` (from the first use, for good).
 */
const LAG_MAX = 50_000;

export class Subjects {
  readonly progress: Statement;
  readonly begin: Statement;
  readonly fill: Statement;
  readonly advance: Statement;
  readonly lastOf: Statement;
  kept: boolean;

  constructor(database: Database) {
    this.progress = database.prepare('SELECT indexed FROM carillon_subjects_progress');
    this.begin = database.prepare('INSERT INTO carillon_subjects_progress (indexed) VALUES (0)');
    this.fill = database.prepare(
      `INSERT INTO carillon_subjects (subject, position)
       SELECT subject, position FROM carillon_events WHERE position > ? AND subject IS NOT NULL`,
    );
    this.advance = database.prepare(
      'UPDATE carillon_subjects_progress SET indexed = coalesce((SELECT max(position) FROM carillon_events), 0)',
    );
    this.lastOf = database.prepare('SELECT max(position) AS position FROM carillon_subjects WHERE subject = ?');
    this.kept = this.progress.get() !== undefined;
  }

  /** The last position of a subject, 0 for none. Within a transaction. */
  revision(subject: string): number {
    if (!this.kept) this.begin.run();
    this.kept = true;
    this.catchUp();
    const { position } = this.lastOf.get(subject) as { position: number | null };
    return position ?? 0;
  }

  catchUp(): void {
    const { indexed } = this.progress.get() as { indexed: number };
    const { changes } = this.fill.run(indexed);
    if (Number(changes) > 0) this.advance.run();
  }

  /** Keeps the index near the end of the log, so that no one question has too much to catch up with. Within a transaction. */
  keepUp(last: number): void {
    if (!this.kept) return;
    const { indexed } = this.progress.get() as { indexed: number };
    if (last - indexed > LAG_MAX) this.catchUp();
  }
}
