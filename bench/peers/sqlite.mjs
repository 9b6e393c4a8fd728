// SQLite with nothing around it: one connection in the main thread, one transaction for each group of publishes.
import { DatabaseSync } from '@photostructure/sqlite';
import { join } from 'node:path';
import { eventOf } from '../workload.mjs';

export const durability = 'WAL, synchronous=FULL: fsync at each group commit, before publish resolves; ids unique';

const groupMax = 1000;

export function openLog({ directory }) {
  const database = new DatabaseSync(join(directory, 'events.db'));
  database.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE events (
      position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL,
      type TEXT NOT NULL, subject TEXT, time TEXT, data TEXT
    )`);
  const insert = database.prepare(
    'INSERT INTO events (id, source, type, subject, time, data) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const begin = database.prepare('BEGIN IMMEDIATE');
  const commit = database.prepare('COMMIT');
  let waiting = [];
  let scheduled = false;

  function flush() {
    scheduled = false;
    const group = waiting.length > groupMax ? waiting.splice(0, groupMax) : waiting;
    if (group === waiting) waiting = [];
    const positions = [];
    begin.run();
    for (const { event } of group) {
      const { id, source, type, subject, time, data } = event;
      positions.push(insert.run(id, source, type, subject, time, JSON.stringify(data)).lastInsertRowid);
    }
    commit.run();
    group.forEach(({ resolve }, i) => resolve(positions[i]));
    if (waiting.length > 0) schedule();
  }

  function schedule() {
    if (scheduled) return;
    scheduled = true;
    setImmediate(flush);
  }

  return {
    publish(n) {
      return new Promise((resolve) => {
        waiting.push({ event: eventOf(n), resolve });
        schedule();
      });
    },
    close() {
      database.close();
    },
  };
}
