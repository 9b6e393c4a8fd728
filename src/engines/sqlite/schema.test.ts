import { describe, expect, it } from 'vitest';
import { assertSqliteVersion, openDatabase, type Database } from './binding.ts';
import { migrate } from './schema.ts';

const tables = (database: Database): unknown[] =>
  database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'carillon%' ORDER BY name").all();

describe('migrate', () => {
  it('makes the tables of an empty database, and marks it', () => {
    const database = openDatabase(':memory:', 0);
    migrate(database);
    expect(tables(database)).toMatchObject([
      { name: 'carillon_deliveries' },
      { name: 'carillon_events' },
      { name: 'carillon_scheduled' },
      { name: 'carillon_subjects' },
      { name: 'carillon_subjects_progress' },
      { name: 'carillon_subscriptions' },
    ]);
    expect(database.prepare('PRAGMA user_version').get()).toMatchObject({ user_version: 1 });
    expect(database.prepare('PRAGMA application_id').get()).toMatchObject({ application_id: 0x43415249 });
  });

  it('leaves a database of this version alone', () => {
    const database = openDatabase(':memory:', 0);
    migrate(database);
    database.exec("INSERT INTO carillon_subscriptions (name, start) VALUES ('m.h', 7)");
    migrate(database);
    expect(database.prepare('SELECT start FROM carillon_subscriptions').all()).toMatchObject([{ start: 7 }]);
  });

  it('leaves tables of the application alone', () => {
    const database = openDatabase(':memory:', 0);
    database.exec('CREATE TABLE orders (id); INSERT INTO orders VALUES (1)');
    migrate(database);
    expect(database.prepare('SELECT id FROM orders').all()).toMatchObject([{ id: 1 }]);
  });

  it('refuses a newer version, and touches nothing', () => {
    const database = openDatabase(':memory:', 0);
    database.exec('PRAGMA user_version = 99');
    expect(() => migrate(database)).toThrow(
      expect.objectContaining({ code: 'CARILLON_STORAGE_VERSION', details: { found: 99, known: 1 } }),
    );
    expect(tables(database)).toEqual([]);
  });
});

describe('assertSqliteVersion', () => {
  const reporting = (version: string): Database =>
    ({ prepare: () => ({ get: () => ({ version }) }) }) as unknown as Database;

  it('takes the binding there is', () => {
    expect(() => assertSqliteVersion(openDatabase(':memory:', 0))).not.toThrow();
  });

  it.each(['3.51.3', '3.51.10', '3.52.0', '4.0.0', '3.51.3.1'])('takes %s', (version) => {
    expect(() => assertSqliteVersion(reporting(version))).not.toThrow();
  });

  it.each(['3.51.2', '3.50.9', '3.9.0', '2.99.99', '3.51'])('refuses %s', (version) => {
    expect(() => assertSqliteVersion(reporting(version))).toThrow(
      expect.objectContaining({ code: 'CARILLON_UNSUPPORTED', details: { version } }),
    );
  });
});
