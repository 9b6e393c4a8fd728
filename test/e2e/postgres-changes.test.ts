import { defineModule } from 'carillon';
import { tableEvents } from 'carillon/sources/postgres-changes';
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { compare, Rebuilt, textOf } from '../crash/postgres-changes/rebuild.mjs';
import { captured, type Captured, type Change } from '../postgres/captured-database.ts';
import { serverUrl } from '../postgres/fresh-database.ts';
import { untilWithinAMinute as until } from '../postgres/waiting.ts';

let db: Captured;
afterEach(() => db.dispose());

const what = ({ type }: Change): string => type.split('.').slice(2).join('.');
const brief = (event: Change): unknown[] => [what(event), event.subject, event.data.before, event.data.after];

describe('rows become events', () => {
  it('first as they are, then as they change, typed, with key, transaction, time and actor', async () => {
    db = await captured(`CREATE TABLE a (id int PRIMARY KEY, t text, n numeric, at timestamptz);
      INSERT INTO a VALUES (1, 'one', 1.50, '2026-01-02 03:04:05.678+02')`);
    const run = await db.start({ tables: ['a'] });
    await run.streaming();
    await db.client.query(`BEGIN; INSERT INTO a VALUES (2, 'zwei', NULL, NULL);
      SELECT pg_logical_emit_message(true, 'carillon:actor', '{"user":"me"}');
      UPDATE a SET t = 'eins' WHERE id = 1; DELETE FROM a WHERE id = 2; COMMIT`);
    await db.client.query('UPDATE a SET id = 9 WHERE id = 1; TRUNCATE a');
    const events = await run.events(7);
    const row = { id: 1, t: 'one', n: '1.50', at: '2026-01-02 01:04:05.678+00' };
    expect(events.map(brief)).toEqual([
      ['a.created', 'public.a/1', null, row],
      ['a.created', 'public.a/2', null, { id: 2, t: 'zwei', n: null, at: null }],
      ['a.updated', 'public.a/1', null, { ...row, t: 'eins' }],
      ['a.deleted', 'public.a/2', { id: 2 }, null],
      ['a.deleted', 'public.a/1', { id: 1 }, null],
      ['a.created', 'public.a/9', null, { ...row, id: 9, t: 'eins' }],
      ['a.truncated', 'public.a', null, null],
    ]);
    expect(events.map(({ data }) => data.actor)).toEqual([
      undefined,
      undefined,
      { user: 'me' },
      { user: 'me' },
      undefined,
      undefined,
      undefined,
    ]);
    expect(events.map(({ data }) => data.key)).toEqual([
      { id: 1 },
      { id: 2 },
      { id: 1 },
      { id: 2 },
      { id: 1 },
      { id: 9 },
      null,
    ]);
    expect(events[4]?.data.movedTo).toEqual({ id: 9 });
    expect(events[5]?.data.movedFrom).toEqual({ id: 1 });
    const [snapshot, inserted, updated, deleted] = events;
    expect(snapshot?.data.transaction).toBe(null);
    expect(inserted?.data.transaction).toEqual(deleted?.data.transaction);
    expect([inserted, updated, deleted].map((event) => event?.data.index)).toEqual([0, 1, 2]);
    expect(inserted?.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(inserted?.type).toBe(`${db.database.name}.public.a.created`);
    expect(inserted?.time).toBe(deleted?.time);
  });

  it('with the whole row before where the table says so, and what was not sent told from null', async () => {
    const big = `(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 2000) n)`;
    db =
      await captured(`CREATE TABLE d (id int PRIMARY KEY, big text, n int); CREATE TABLE f (id int PRIMARY KEY, big text, n int);
      ALTER TABLE d ALTER big SET STORAGE EXTERNAL; ALTER TABLE f ALTER big SET STORAGE EXTERNAL;
      ALTER TABLE f REPLICA IDENTITY FULL; CREATE TABLE bag (v int); ALTER TABLE bag REPLICA IDENTITY FULL`);
    const run = await db.start({ tables: ['d', 'f', 'bag'] });
    await run.streaming();
    await db.client.query(`INSERT INTO d VALUES (1, ${big}, 1); UPDATE d SET n = 2; UPDATE d SET big = NULL;
      INSERT INTO f VALUES (1, ${big}, 1); UPDATE f SET n = 2; INSERT INTO bag VALUES (5), (5); UPDATE bag SET v = 6; DELETE FROM bag`);
    const events = await run.events(11);
    const [, toasted, nulled, , full] = events;
    expect(toasted?.data).toMatchObject({ after: { id: 1, n: 2 }, unchanged: ['big'], before: null });
    expect(toasted?.data.after).not.toHaveProperty('big');
    expect(nulled?.data.after).toEqual({ id: 1, big: null, n: 2 });
    expect(nulled?.data).not.toHaveProperty('unchanged');
    const value = events[3]?.data.after?.['big'];
    expect(value).toHaveLength(64_000);
    expect(full?.data).toMatchObject({
      key: { id: 1 },
      before: { id: 1, big: value, n: 1 },
      after: { id: 1, big: value, n: 2 },
    });
    expect(full?.data).not.toHaveProperty('unchanged');
    expect(events.slice(5).map((event) => [what(event), event.subject, event.data.key])).toEqual(
      ['created', 'created', 'updated', 'updated', 'deleted', 'deleted'].map((one) => [
        `bag.${one}`,
        'public.bag',
        null,
      ]),
    );
  });

  it('definitions too, where they happened', async () => {
    db = await captured('CREATE TABLE a (id int PRIMARY KEY)');
    const run = await db.start({ tables: ['a'], ddl: true });
    await run.streaming();
    await db.client.query('INSERT INTO a VALUES (1)');
    await db.client.query('ALTER TABLE a ADD COLUMN t text');
    await db.client.query(`INSERT INTO a VALUES (2, 'x')`);
    await db.client.query('CREATE TABLE other (x int)');
    await db.client.query('DROP TABLE other');
    const events = await run.events(5);
    expect(
      events.map(({ type, data }) => [
        type.split('.').slice(1).join('.'),
        (data as unknown as { command?: string }).command ?? data.after,
      ]),
    ).toEqual([
      ['public.a.created', { id: 1 }],
      ['ddl', 'ALTER TABLE'],
      ['public.a.created', { id: 2, t: 'x' }],
      ['ddl', 'CREATE TABLE'],
      ['ddl', 'DROP TABLE'],
    ]);
    expect(events[1]?.data).toMatchObject({
      identity: 'public.a',
      dropped: false,
      statement: 'ALTER TABLE a ADD COLUMN t text',
    });
  });

  it('whatever they are called', async () => {
    const table = `"we ""quote""; DROP TABLE x.y"`;
    db = await captured(`CREATE SCHEMA "S;'"; CREATE TABLE "S;'".${table} ("i'd;" int PRIMARY KEY, "__proto__" text);
      INSERT INTO "S;'".${table} VALUES (1, 'a')`);
    const named = { schema: `S;'`, table: 'we "quote"; DROP TABLE x.y' };
    const seen: unknown[] = [];
    const events = tableEvents<{ "i'd;": number }>(db.database.name, named.schema, named.table);
    const handlers = defineModule('seen', (m) =>
      m.handle(events.created, ({ data }) => void seen.push(data.key), { name: 'all', from: 'beginning' }),
    );
    const run = await db.start({ tables: [named], publication: `p"';` }, { modules: [handlers] });
    await run.streaming();
    await db.client.query(`INSERT INTO "S;'".${table} VALUES (2, 'b')`);
    const [first, second] = await run.events(2);
    expect(first?.type).toBe(`${db.database.name}.S%3B%27.we%20%22quote%22%3B%20DROP%20TABLE%20x%2Ey.created`);
    expect([first?.data.table, second?.data.key]).toEqual([named.table, { "i'd;": 2 }]);
    expect(JSON.parse(JSON.stringify(second?.data.after))).toEqual(JSON.parse(`{"i'd;":2,"__proto__":"b"}`));
    await run.bus.drain();
    expect(seen).toEqual([{ "i'd;": 1 }, { "i'd;": 2 }]);
  });

  it('of partitions under the name of their table', async () => {
    db = await captured(`CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
      CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
      INSERT INTO p VALUES (1, 1), (11, 1)`);
    const run = await db.start({ tables: ['p'] });
    await run.streaming();
    await db.client.query('UPDATE p SET v = 2 WHERE id = 11');
    expect((await run.events(3)).map((event) => [what(event), event.subject])).toEqual([
      ['p.created', 'public.p/1'],
      ['p.created', 'public.p/11'],
      ['p.updated', 'public.p/11'],
    ]);
  });
});

/** Where what the events say differs from what the table holds. */
async function differences(run: Awaited<ReturnType<Captured['start']>>): Promise<object> {
  const rebuilt = new Rebuilt();
  for (const { event } of await run.all()) rebuilt.take(event);
  const { rows } = await db.client.query<Record<string, unknown>>('SELECT * FROM a');
  const real = new Map(rows.map((row) => [textOf(row), 1]));
  return { impossible: rebuilt.impossible, twice: rebuilt.twice, ...compare(rebuilt.rowsOf('a'), real) };
}

const none = { impossible: [], twice: 0, lost: 0, phantom: 0 };

describe('nothing is missing and nothing comes twice', () => {
  it('between the snapshot and the stream, while others write', async () => {
    db = await captured(
      `CREATE TABLE a (id int PRIMARY KEY, v int); INSERT INTO a SELECT n, 0 FROM generate_series(1, 3000) n`,
    );
    let writing = true;
    const writer = async (no: number): Promise<number> => {
      const client = new pg.Client({ connectionString: db.database.url });
      await client.connect();
      let count = 0;
      for (; writing || count < 50; count++) {
        const id = 10_000 * no + count;
        await client.query(
          `BEGIN; INSERT INTO a VALUES (${id}, 0); UPDATE a SET v = v + 1 WHERE id = ${1 + (count % 3000)}; ${count % 5 === 0 ? 'ROLLBACK' : 'COMMIT'}`,
        );
        if (count % 7 === 0) await client.query(`DELETE FROM a WHERE id = ${id}`);
      }
      await client.end();
      return count;
    };
    const writers = [1, 2, 3].map(writer);
    const run = await db.start({ tables: ['a'], batchEvents: 100 });
    await run.streaming();
    writing = false;
    await Promise.all(writers);
    await db.client.query('INSERT INTO a VALUES (-1, 0)');
    await until(
      async () => (await run.all()).some(({ event }) => event.subject === 'public.a/-1'),
      () => 'the last row',
    );
    expect(await differences(run)).toEqual(none);
  });

  it('over a stop and a start, whatever was not confirmed', async () => {
    db = await captured('CREATE TABLE a (id int PRIMARY KEY, v int)');
    const first = await db.start({ tables: ['a'] });
    await first.streaming();
    await db.client.query('INSERT INTO a VALUES (1, 0), (2, 0)');
    await first.events(2);
    await first.stop();
    await db.client.query('UPDATE a SET v = 1; DELETE FROM a WHERE id = 2');
    const second = await db.start({ tables: ['a'] });
    expect((await second.events(5)).map(what)).toEqual([
      'a.created',
      'a.created',
      'a.updated',
      'a.updated',
      'a.deleted',
    ]);
    expect(await differences(second)).toEqual(none);
    expect(await second.journal('started')).toHaveLength(1);
  });

  it('over connections that are cut, of the stream and beside it', async () => {
    db = await captured('CREATE TABLE a (id int PRIMARY KEY, v int)');
    const run = await db.start({ tables: ['a'] });
    await run.streaming();
    let id = 0;
    for (const kind of ['walsender', 'client backend', 'walsender']) {
      for (let n = 0; n < 20; n++) await db.client.query(`INSERT INTO a VALUES (${id++}, 0)`);
      const cut = await db.value(
        `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = $1 AND datname = current_database() AND application_name LIKE 'carillon %'`,
        [kind],
      );
      expect(Number(cut)).toBe(1);
      for (let n = 0; n < 20; n++) await db.client.query(`INSERT INTO a VALUES (${id++}, 0)`);
      await run.events(id);
    }
    await run.streaming();
    expect(await differences(run)).toEqual(none);
  });

  it('where the bus takes only small batches', async () => {
    db = await captured('CREATE TABLE a (id int PRIMARY KEY, v int)');
    const run = await db.start({ tables: ['a'] }, { batchEventsMax: 7 });
    await run.streaming();
    await db.client.query('INSERT INTO a SELECT n, 0 FROM generate_series(1, 100) n');
    await run.events(100);
    expect(await differences(run)).toEqual(none);
  });
});

describe('the tables', () => {
  it('are refused where their changes could not be told, before an update of the application fails', async () => {
    db = await captured('CREATE TABLE a (v int); CREATE VIEW w AS SELECT 1 AS x; CREATE TABLE ok (id int PRIMARY KEY)');
    await expect(db.start({ tables: ['ok', 'a'] })).rejects.toMatchObject({
      code: 'CARILLON_CHANGES_IDENTITY',
      message: expect.stringContaining('ALTER TABLE "public"."a" REPLICA IDENTITY') as string,
    });
    for (const tables of [['none'], ['w']]) {
      await expect(db.start({ tables })).rejects.toMatchObject({ code: 'CARILLON_CHANGES_TABLES' });
    }
    await db.client.query('INSERT INTO a VALUES (1); UPDATE a SET v = 2');
    expect(await db.slot()).toBe(undefined);
  });

  it('cannot become others under a source that has begun', async () => {
    db = await captured('CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)');
    const run = await db.start({ tables: ['a'] });
    await run.streaming();
    await run.stop();
    await expect(db.start({ tables: ['a', 'b'] })).rejects.toMatchObject({ code: 'CARILLON_CHANGES_TABLES' });
    await db.client.query(
      `ALTER PUBLICATION ${db.options().name === undefined ? '' : `carillon_${db.options().name}`} ADD TABLE b`,
    );
    await expect(db.start({ tables: ['a', 'b'] })).rejects.toMatchObject({ code: 'CARILLON_CHANGES_TABLES' });
  });

  it('may be those of a publication somebody else has made', async () => {
    db = await captured(`CREATE TABLE a (id int PRIMARY KEY, secret text, v int);
      INSERT INTO a VALUES (1, 'x', 1), (2, 'x', 200); CREATE PUBLICATION theirs FOR TABLE a (id, v) WHERE (v < 100)`);
    await db.client.query('ALTER TABLE a REPLICA IDENTITY DEFAULT');
    const run = await db.start({ publication: 'theirs' }).catch((error: unknown) => error as Error);
    // A row filter on a column beside the key forbids updates; PostgreSQL says so itself only when one comes.
    if (run instanceof Error) throw run;
    await run.streaming();
    await db.client.query(`INSERT INTO a VALUES (3, 'x', 3), (4, 'x', 400)`);
    const events = await run.events(2);
    expect(events.map(({ data }) => data.after)).toEqual([
      { id: 1, v: 1 },
      { id: 3, v: 3 },
    ]);
  });
});

describe('who captures', () => {
  it('is told what is wrong with the address', async () => {
    db = await captured('CREATE TABLE a (id int PRIMARY KEY)');
    const url = new URL(db.database.url);
    const at = (change: (address: URL) => void): string => {
      const changed = new URL(url);
      change(changed);
      return changed.href;
    };
    await db.client.query(`CREATE ROLE ${db.options().name} LOGIN PASSWORD 'p'`);
    try {
      const cases = [
        [at((one) => (one.password = 'wrong')), 'CARILLON_DATABASE_LOGIN'],
        [at((one) => (one.hostname = 'no-such-host.invalid')), 'CARILLON_DATABASE_UNREACHABLE'],
        [at((one) => (one.port = '1')), 'CARILLON_DATABASE_UNREACHABLE'],
        [at((one) => (one.pathname = '/none')), 'CARILLON_DATABASE_UNKNOWN'],
        [
          at((one) => {
            one.username = String(db.options().name);
            one.password = 'p';
          }),
          'CARILLON_DATABASE_RIGHTS',
        ],
      ] as const;
      for (const [database, code] of cases) {
        const error: unknown = await db.start({ database, tables: ['a'] }).catch((thrown: unknown) => thrown);
        const message = code === 'CARILLON_DATABASE_RIGHTS' ? 'ALTER ROLE' : '';
        expect(error).toMatchObject({
          code,
          fix: expect.stringMatching(/\w/) as string,
          message: expect.stringContaining(message) as string,
        });
      }
    } finally {
      await db.client.query(`DROP ROLE ${db.options().name}`);
    }
    expect(url.href).toBe(serverUrl(db.database.name));
  });

  it('finds the slot taken, and by whom', async () => {
    db = await captured('CREATE TABLE a (id int PRIMARY KEY)');
    const run = await db.start({ tables: ['a'] });
    await run.streaming();
    const { postgresChanges } = await import('carillon/sources/postgres-changes');
    const { createBus } = await import('carillon');
    const { memory } = await import('carillon/memory');
    const second = postgresChanges(db.options({ tables: ['a'], slotWaitMs: 300 }));
    const start = createBus({ engine: memory(), modules: [second] });
    await expect(start).rejects.toMatchObject({
      code: 'CARILLON_CHANGES_SLOT_TAKEN',
      message: expect.stringMatching(/process \d+ \(carillon t_/) as string,
    });
    await db.client.query('INSERT INTO a VALUES (1)');
    await run.events(1);
  });
});
