import { beforeEach, describe, expect, it } from 'vitest';
import { openDatabase, type Database } from './binding.ts';
import { migrate } from './schema.ts';
import { Subjects } from './subjects.ts';

let database: Database;
let numbers: number;

beforeEach(() => {
  database = openDatabase(':memory:', 0);
  migrate(database);
  numbers = 0;
});

const publish = (...subjects: readonly (string | null)[]): void => {
  const statement = database.prepare(
    "INSERT INTO carillon_events (dedupe, recorded, id, source, type, subject) VALUES (?, 0, ?, '/s', 't', ?)",
  );
  for (const subject of subjects) statement.run(++numbers, `e${numbers}`, subject);
};

const indexed = (): number =>
  (database.prepare('SELECT count(*) AS n FROM carillon_subjects').get() as { n: number }).n;

describe('Subjects', () => {
  it('keeps no index before it is asked', () => {
    const subjects = new Subjects(database);
    publish('a', 'b');
    subjects.keepUp(1_000_000);
    expect([subjects.kept, indexed()]).toEqual([false, 0]);
  });

  it('finds the last position of a subject, of events from before it was asked too', () => {
    const subjects = new Subjects(database);
    publish('a', 'b', 'a', null);
    expect([subjects.revision('a'), subjects.revision('b'), subjects.revision('none')]).toEqual([3, 2, 0]);
    expect(indexed()).toBe(3);
  });

  it('starts on an empty log', () => {
    const subjects = new Subjects(database);
    expect(subjects.revision('a')).toBe(0);
    publish('a');
    expect(subjects.revision('a')).toBe(1);
  });

  it('catches up with what came since, each event once', () => {
    const subjects = new Subjects(database);
    publish('a');
    subjects.revision('a');
    publish(null, 'a', 'b');
    expect(subjects.revision('a')).toBe(3);
    publish(null);
    expect(subjects.revision('b')).toBe(4);
    expect(subjects.revision('b')).toBe(4);
    expect(indexed()).toBe(3);
  });

  it('is right after a restart', () => {
    publish('a');
    new Subjects(database).revision('a');
    publish('a', 'b');
    const again = new Subjects(database);
    expect([again.kept, again.revision('a'), again.revision('b')]).toEqual([true, 2, 3]);
  });

  it('keeps near the end of the log once it is kept', () => {
    const subjects = new Subjects(database);
    publish('a');
    subjects.revision('a');
    publish('a', 'a');
    subjects.keepUp(50_001);
    expect(indexed()).toBe(1);
    subjects.keepUp(50_002);
    expect(indexed()).toBe(3);
  });
});
