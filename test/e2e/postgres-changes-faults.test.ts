import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { carillonError, createBus, type Bus, type Event, type Logger } from 'carillon';
import { memory } from 'carillon/memory';
import { postgresChanges } from 'carillon/sources/postgres-changes';
import { afterEach, describe, expect, it } from 'vitest';
import { startPostgres, type PostgresServer } from '../../scripts/postgres-server.mjs';
import { captured, type Captured } from '../postgres/captured-database.ts';
import { untilWithinAMinute as until } from '../postgres/waiting.ts';

let db: Captured;
const servers: PostgresServer[] = [];
afterEach(async () => {
  // A server of one's own takes its slots and databases with it.
  await (servers.length > 0 ? db.leave() : db.dispose());
  for (const server of servers.splice(0)) await server.dispose();
});

async function ownServer(...flags: readonly string[]): Promise<PostgresServer> {
  const server = await startPostgres({ flags });
  servers.push(server);
  return server;
}

const table = 'CREATE TABLE a (id int PRIMARY KEY, v int)';
const slotName = (): string => `carillon_${db.options().name}`;
const failed = (reason: string): object => ({
  code: 'CARILLON_CHANGES_GAP',
  details: { reason, reached: expect.any(String) as string },
});

async function streamSome(): Promise<void> {
  const run = await db.start({ tables: ['a'] });
  await run.streaming();
  await db.client.query('INSERT INTO a VALUES (1, 0)');
  await run.events(1);
  await run.stop();
}

/**
 * Starts once more: refused, with the gap told on the bus; then, where that is allowed, all rows anew. Returns the
 * reasons that were told.
 */
async function gapsTold(reason: string, given: object = {}): Promise<readonly string[]> {
  const options = { tables: ['a'], ...given };
  await expect(db.start(options)).rejects.toMatchObject(failed(reason));
  // As often as it is tried: it does not pass by itself.
  await expect(db.start(options)).rejects.toMatchObject(failed(reason));
  const run = await db.start({ ...options, afterGap: 'snapshot' });
  await run.streaming();
  const gaps = await run.journal('gap');
  expect(run.changes.status().generation).toBe(2);
  const rows = (await run.events(2)).filter(({ data }) => data.generation === 2);
  expect(rows.map(({ data }) => [data.key, data.transaction])).toContainEqual([{ id: 1 }, null]);
  await run.stop();
  return gaps.map(({ data }) => (data as { reason: string }).reason);
}

describe('a gap stops the source and is told', () => {
  it('when the slot is gone', async () => {
    db = await captured(table);
    await streamSome();
    await db.client.query('SELECT pg_drop_replication_slot($1)', [slotName()]);
    expect(await gapsTold('slot-gone')).toEqual(['slot-gone']);
  });

  it('when somebody made the slot anew', async () => {
    db = await captured(table);
    await streamSome();
    await db.client.query('SELECT pg_drop_replication_slot($1)', [slotName()]);
    await db.client.query('INSERT INTO a VALUES (2, 0)');
    await db.client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slotName()]);
    expect(await gapsTold('slot-moved')).toEqual(['slot-moved']);
  });

  it('when somebody moved the slot on', async () => {
    db = await captured(table);
    await streamSome();
    await db.client.query('INSERT INTO a VALUES (2, 0)');
    await db.client.query('SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())', [slotName()]);
    expect(await gapsTold('slot-moved')).toEqual(['slot-moved']);
  });

  it('while it runs, too', async () => {
    db = await captured(table);
    const run = await db.start({ tables: ['a'], slotWaitMs: 0 });
    await run.streaming();
    // Taken away between two tries to connect: as soon as the stream is cut the slot can be dropped.
    await db.client.query(
      `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '${slotName()}'`,
    );
    const dropped = async (): Promise<boolean> =>
      db.client.query('SELECT pg_drop_replication_slot($1)', [slotName()]).then(
        () => true,
        () => {
          void db.client.query(
            'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1',
            [slotName()],
          );
          return false;
        },
      );
    await until(dropped, () => 'the slot cannot be dropped');
    await until(
      () => run.changes.status().state === 'failed',
      () => run.changes.status().state,
    );
    expect(run.changes.status().error).toMatchObject({ code: 'CARILLON_CHANGES_GAP' });
    expect(await run.journal('gap')).toHaveLength(1);
    const health = await run.bus.health();
    expect([health.status, health.reasons[0]]).toEqual(['degraded', expect.stringContaining('may be missing')]);
  });

  it('when the server gave up the slot, because it held too much of its log', async () => {
    const server = await ownServer(
      '-c',
      'max_slot_wal_keep_size=16MB',
      '-c',
      'min_wal_size=32MB',
      '-c',
      'max_wal_size=48MB',
    );
    db = await captured(table, server.url());
    await streamSome();
    await until(
      async () => {
        await db.client.query("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 8000000))");
        await db.client.query('SELECT pg_switch_wal()');
        await db.client.query('CHECKPOINT');
        return (await db.slot())?.['wal_status'] === 'lost';
      },
      () => 'the slot is not lost',
    );
    expect(await gapsTold('slot-lost')).toEqual(['slot-lost']);
  });

  it('when the server is on another timeline: restored, or promoted', async () => {
    const server = await ownServer('-c', 'restore_command=false');
    db = await captured(table, server.url());
    await streamSome();
    await server.stop();
    await writeFile(join(server.directory, 'data', 'recovery.signal'), '');
    await server.start();
    await db.client.end().catch(() => undefined);
    db = { ...(await captured('SELECT 1', server.url())), log: db.log };
    const again = postgresChanges(db.options({ tables: ['a'] }));
    const start = (): Promise<Bus> => createBus({ engine: memory(db.log), modules: [again] });
    await until(
      async () => (await db.value('SELECT pg_is_in_recovery()')) === false,
      () => 'still recovering',
    );
    expect(await db.value('SELECT timeline_id FROM pg_control_checkpoint()')).toBe(2);
    await expect(start()).rejects.toMatchObject(failed('other-timeline'));
  });

  it('when it is another server', async () => {
    const server = await ownServer();
    db = await captured(table, server.url());
    await streamSome();
    const other = await ownServer();
    const there = await captured(`${table}; INSERT INTO a VALUES (1, 7)`, other.url());
    expect(await gapsTold('other-system', { database: other.url() })).toEqual(['other-system']);
    await there.leave();
  });
});

describe("a slot that is not the source's own", () => {
  it('is refused, and left as it is', async () => {
    db = await captured(table);
    await db.client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slotName()]);
    await expect(db.start({ tables: ['a'] })).rejects.toMatchObject({ code: 'CARILLON_CHANGES_SLOT_FOREIGN' });
    await db.client.query('SELECT pg_drop_replication_slot($1)', [slotName()]);
    await db.client.query('SELECT pg_create_physical_replication_slot($1)', [slotName()]);
    await expect(db.start({ tables: ['a'] })).rejects.toMatchObject({ code: 'CARILLON_CHANGES_SLOT_FOREIGN' });
    expect((await db.slot())?.['slot_type']).toBe('physical');
  });

  it('is dropped when it is of a snapshot that was never completed', async () => {
    db = await captured(`${table}; INSERT INTO a VALUES (1, 0)`);
    const bus = gatedBus(await createBus({ engine: memory(db.log) }));
    const changes = postgresChanges(db.options({ tables: ['a'] }));
    bus.open('carillon.changes.started');
    await changes.start[0]?.({ bus: bus.bus, log: silent });
    await until(
      () => bus.waiting.length > 0,
      () => 'no row is published',
    );
    // As after a crash: what the snapshot had told is there or not, and that it was complete is not.
    bus.refuse();
    await until(
      () => changes.status().state === 'failed',
      () => changes.status().state,
    );
    await changes.stop[0]?.({ bus: bus.bus, log: silent });
    await bus.inner.stop();
    await db.client.query('UPDATE a SET v = 1');
    const run = await db.start({ tables: ['a'] });
    await run.streaming();
    expect(run.changes.status().generation).toBe(2);
    expect((await run.events(1)).map(({ data }) => [data.generation, data.after])).toEqual([[2, { id: 1, v: 1 }]]);
    expect(await run.journal('gap')).toEqual([]);
  });
});

describe('the server', () => {
  it('must have wal_level = logical', async () => {
    const server = await ownServer('-c', 'wal_level=replica');
    db = await captured(table, server.url());
    await expect(db.start({ tables: ['a'] })).rejects.toMatchObject({
      code: 'CARILLON_CHANGES_WAL_LEVEL',
      fix: expect.stringContaining('ALTER SYSTEM SET wal_level = logical') as string,
    });
  });

  it('may crash in the middle of it', async () => {
    const server = await ownServer();
    db = await captured(table, server.url());
    const run = await db.start({ tables: ['a'] });
    await run.streaming();
    await db.client.query('INSERT INTO a SELECT n, 0 FROM generate_series(1, 2000) n');
    await server.restart('immediate');
    await db.client.end().catch(() => undefined);
    db = { ...(await captured('INSERT INTO a VALUES (0, 0)', server.url())), log: db.log };
    const events = await run.events(2001);
    expect(new Set(events.map(({ data }) => data.key?.['id'])).size).toBe(2001);
    expect(events).toHaveLength(2001);
    await run.stop();
  });
});

const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

/** A bus whose publishes wait until they are let through. */
function gatedBus(inner: Bus) {
  const waiting: { readonly events: readonly Event[]; readonly pass: () => void; readonly fail: () => void }[] = [];
  let types: readonly string[] = [];
  let all = false;
  const bus = Object.create(inner) as Bus;
  bus.publish = ((given: Event | readonly Event[]) => {
    const events = Array.isArray(given) ? (given as readonly Event[]) : [given as Event];
    const through = (): Promise<unknown> => inner.publish(given as Event);
    if (all || events.every(({ type }) => types.includes(type))) return through();
    return new Promise<unknown>((resolve, reject) => {
      const fail = (): void => reject(carillonError('CARILLON_ENGINE_FAILED', 'refused by the test'));
      waiting.push({ events, pass: () => void through().then(resolve, reject), fail });
    });
  }) as Bus['publish'];
  return {
    bus,
    inner,
    waiting,
    open: (...passing: readonly string[]): void => void (types = passing),
    refuse: (): void => waiting.splice(0).forEach(({ fail }) => fail()),
    openAll: (): void => {
      all = true;
      waiting.splice(0).forEach(({ pass }) => pass());
    },
  };
}

describe('the server keeps', () => {
  const confirmed = async (): Promise<string> => String((await db.slot())?.['confirmed_flush_lsn']);

  it('what is not durable on the bus, whatever it asks', async () => {
    db = await captured(table);
    const gate = gatedBus(await createBus({ engine: memory(db.log) }));
    const changes = postgresChanges(db.options({ tables: ['a'], heartbeatMs: 20 }));
    gate.open(...['started', 'snapshotted', 'position'].map((kind) => `carillon.changes.${kind}`));
    await changes.start[0]?.({ bus: gate.bus, log: silent });
    await until(
      () => changes.status().state === 'streaming',
      () => changes.status().state,
    );
    const before = await confirmed();
    await db.client.query('INSERT INTO a VALUES (1, 0)');
    await until(
      () => gate.waiting.length > 0,
      () => 'the row is not published',
    );
    const after = String(await db.value('SELECT pg_current_wal_insert_lsn()'));
    // Many megabytes of log and many heartbeats later: the server has heard from the source, and has been answered.
    await db.client.query("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 40000000))");
    const told = async (): Promise<unknown> =>
      db.value(
        `SELECT write_lsn > $1::pg_lsn + 40000000 FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name = $2`,
        [after, slotName()],
      );
    await until(told, () => 'the server has heard nothing');
    expect(await confirmed()).toBe(before);
    gate.openAll();
    await until(
      async () =>
        (await db.value('SELECT confirmed_flush_lsn > $1 FROM pg_replication_slots WHERE slot_name = $2', [
          before,
          slotName(),
        ])) === true,
      () => 'never confirmed',
    );
    await changes.stop[0]?.({ bus: gate.bus, log: silent });
    await gate.inner.stop();
  });

  it('no more than that: log of other databases is given back while the captured one is idle', async () => {
    db = await captured(table);
    const other = await captured('SELECT 1');
    const run = await db.start({ tables: ['a'], heartbeatMs: 50 });
    await run.streaming();
    const before = await confirmed();
    for (let n = 0; n < 5; n++)
      await other.client.query("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 8000000))");
    await until(
      async () =>
        (await db.value('SELECT confirmed_flush_lsn - $1 > 32000000 FROM pg_replication_slots WHERE slot_name = $2', [
          before,
          slotName(),
        ])) === true,
      () => 'the slot stays where it was',
    );
    // Each step is told in the journal first, and there are few of them.
    const positions = (await run.journal('position')).map(({ data }) => (data as { lsn: string }).lsn);
    expect(positions).toContain(await confirmed());
    expect(positions.length).toBeLessThan(10);
    await other.dispose();
  });

  it('a large transaction, while the bus is slow: it is read in pieces', async () => {
    db = await captured('CREATE TABLE a (id int PRIMARY KEY, t text)');
    const gate = gatedBus(await createBus({ engine: memory(db.log) }));
    const changes = postgresChanges(db.options({ tables: ['a'] }));
    gate.open(...['started', 'snapshotted', 'position'].map((kind) => `carillon.changes.${kind}`));
    await changes.start[0]?.({ bus: gate.bus, log: silent });
    await until(
      () => changes.status().state === 'streaming',
      () => changes.status().state,
    );
    const rows = 100_000;
    await db.client.query(`INSERT INTO a SELECT n, repeat('x', 500) FROM generate_series(1, ${rows}) n`);
    await until(
      () => gate.waiting.length > 0,
      () => 'nothing is published',
    );
    expect(gate.waiting).toHaveLength(1);
    expect(gate.waiting[0]?.events.length).toBeLessThanOrEqual(1000);
    // The server has far more than was taken: its sender waits for us.
    const blocked = async (): Promise<unknown> =>
      db.value(
        `SELECT a.wait_event = 'WalSenderWriteData' FROM pg_stat_activity a JOIN pg_replication_slots s ON s.active_pid = a.pid WHERE s.slot_name = $1`,
        [slotName()],
      );
    await until(blocked, () => 'the sender does not wait');
    expect(gate.waiting).toHaveLength(1);
    gate.openAll();
    await until(
      () => changes.status().published === rows,
      () => String(changes.status().published),
    );
    await changes.stop[0]?.({ bus: gate.bus, log: silent });
    let count = 0;
    for await (const { event } of gate.inner.read()) if (event.type.endsWith('.created')) count++;
    expect(count).toBe(rows);
    await gate.inner.stop();
  });
});
