import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { createBus } from '../../src/bus/index.ts';
import { makeEvent, type Bus } from '../../src/core/index.ts';
import { postgres } from '../../src/engines/postgres/index.ts';
import { seededRandom } from '../../src/testing/index.ts';
import { startProgram } from './program.ts';
import type { SchemaUnderTest } from './schema-under-test.ts';
import { until } from './waiting.ts';

/**
 * Writers that publish in transactions of their own while two processes move that into the log.
 *
 * Each publish takes its key's lock, counts the key up, publishes the number and commits: so the order of a key is known.
 * Some transactions have their id long before they publish, some publish and then take their time, some roll back, whole
 * or to a savepoint; some publishes go through the bus instead, under the same lock. A reader follows the log all the while.
 */
export interface Experiment {
  readonly seed: number;
  readonly writers: number;
  readonly keys: number;
  /** What each writer does, one thing after the other. */
  readonly turns: number;
}

export interface Outcome {
  readonly committed: number;
  readonly rolledBack: number;
  readonly missed: number;
  readonly doubled: number;
  /** Events that come after one of their key that was committed later. */
  readonly inverted: number;
  /** Events that were rolled back, and are there. */
  readonly undead: number;
  /** Events that the reader did not see, or saw in another place, since they came to stand behind it. */
  readonly notFollowed: number;
}

/** What all writers have done. */
interface Ledger {
  readonly committed: Map<string, number[]>;
  rolledBack: number;
}

export async function experiment(schema: SchemaUnderTest, plan: Experiment): Promise<Outcome> {
  const task = { url: schema.database.url, lookMs: 10, publishEveryMs: 15 };
  const sequencers = [startProgram('sequencer', task), startProgram('sequencer', task)];
  await Promise.all(sequencers.map((one) => one.untilTold('ready')));
  // It publishes within transactions, and looks by itself so seldom that the processes do all the moving.
  const bus = await createBus({ engine: postgres({ url: schema.database.url, lookMs: 60_000 }) });
  const reader = await follow(await schema.client());
  const ledger: Ledger = { committed: new Map(), rolledBack: 0 };
  const watcher = await schema.client();
  await watcher.query('CREATE TABLE counts (key text PRIMARY KEY, n int NOT NULL)');
  await watcher.query(`INSERT INTO counts SELECT 'k' || n, 0 FROM generate_series(1, $1) AS n`, [plan.keys]);
  try {
    const writers = Array.from({ length: plan.writers }, async (_, index) =>
      write(await schema.client(), bus, { ...plan, seed: plan.seed + index }, ledger),
    );
    await Promise.all(writers);
    await untilMoved(watcher);
  } finally {
    await bus.stop();
    await Promise.all(sequencers.map((one) => one.stop()));
  }
  return judge(watcher, ledger, await reader.stop());
}

async function write(client: pg.Client, bus: Bus, plan: Experiment, ledger: Ledger): Promise<void> {
  const random = seededRandom(plan.seed);
  const happens = (probability: number): boolean => random() < probability;
  const pause = (mostMs: number): Promise<void> => sleep(random() * mostMs);
  const event = (key: string, n: number) =>
    makeEvent({ specversion: '1.0', id: randomUUID(), source: '/writer', type: 'counted', subject: key }, { n });
  const count = async (key: string): Promise<number> => {
    const { rows } = await client.query<{ n: number }>('UPDATE counts SET n = n + 1 WHERE key = $1 RETURNING n', [key]);
    return rows[0]?.n as number;
  };
  for (let turn = 0; turn < plan.turns; turn++) {
    const key = `k${1 + Math.floor(random() * plan.keys)}`;
    const lock = `hashtext('${key}')`;
    if (happens(0.1)) {
      // Through the bus: the lock is the session's then, since the publish is not the transaction's.
      await client.query(`SELECT pg_advisory_lock(${lock})`);
      const n = await count(key);
      await bus.publish(event(key, n));
      listed(ledger, key).push(n);
      await client.query(`SELECT pg_advisory_unlock(${lock})`);
      continue;
    }
    await client.query('BEGIN');
    if (happens(0.6)) {
      await client.query('SELECT pg_current_xact_id()');
      await pause(15);
    }
    await client.query(`SELECT pg_advisory_xact_lock(${lock})`);
    if (happens(0.2)) {
      await client.query('SAVEPOINT s');
      await bus.publish(event(key, -1), { tx: client });
      await client.query('ROLLBACK TO SAVEPOINT s');
    }
    const many = happens(0.1) ? 5 : 1;
    const numbers: number[] = [];
    for (let each = 0; each < many; each++) {
      const n = await count(key);
      if (happens(0.2)) await client.query('SAVEPOINT t');
      await bus.publish(event(key, n), { tx: client });
      numbers.push(n);
    }
    if (happens(0.5)) await pause(10);
    if (happens(0.1)) {
      await client.query('ROLLBACK');
      ledger.rolledBack += many;
    } else {
      await client.query('COMMIT');
      listed(ledger, key).push(...numbers);
    }
  }
}

function listed({ committed }: Ledger, key: string): number[] {
  const numbers = committed.get(key) ?? [];
  committed.set(key, numbers);
  return numbers;
}

/** All is in the log that can be, and no number is waited for. */
async function untilMoved(watcher: pg.Client): Promise<void> {
  await until(async () => {
    const { rows } = await watcher.query(
      `SELECT FROM sequenced WHERE gaps = '{}' AND up_to = (SELECT last_value FROM incoming_no_seq)`,
    );
    return rows.length > 0;
  }, 'what waits to be moved');
}

interface Reader {
  /** Positions in the order in which they were read. */
  stop(): Promise<readonly number[]>;
}

/** Reads what comes after the last position it has read, as everybody does who follows the log. */
async function follow(client: pg.Client): Promise<Reader> {
  const positions: number[] = [];
  let stopping = false;
  const readOn = async (): Promise<void> => {
    const { rows } = await client.query('SELECT position FROM events WHERE position > $1 ORDER BY position', [
      positions.at(-1) ?? 0,
    ]);
    positions.push(...rows.map(({ position }) => Number(position)));
  };
  const reading = (async () => {
    while (!stopping) await readOn();
    await readOn();
  })();
  return {
    stop: async () => {
      stopping = true;
      await reading;
      return positions;
    },
  };
}

interface Logged {
  readonly position: string;
  readonly type: string;
  readonly subject: string;
  readonly data: string;
}

async function judge(watcher: pg.Client, ledger: Ledger, followed: readonly number[]): Promise<Outcome> {
  const { rows } = await watcher.query<Logged>('SELECT position, type, subject, data FROM events ORDER BY position');
  const logged = new Map<string, number[]>();
  for (const { type, subject, data } of rows) {
    if (type !== 'counted') continue;
    const numbers = logged.get(subject) ?? [];
    logged.set(subject, numbers);
    numbers.push((JSON.parse(data) as { n: number }).n);
  }
  const outcome = { missed: 0, doubled: 0, inverted: 0, undead: 0 };
  let committed = 0;
  for (const [key, numbers] of ledger.committed) {
    committed += numbers.length;
    const found = logged.get(key) ?? [];
    const known = new Set(numbers);
    outcome.missed += numbers.filter((n) => !found.includes(n)).length;
    outcome.doubled += found.length - new Set(found).size;
    outcome.undead += found.filter((n) => !known.has(n)).length;
    let highest = 0;
    for (const n of found) {
      if (n < highest) outcome.inverted++;
      highest = Math.max(highest, n);
    }
  }
  const positions = rows.map(({ position }) => Number(position));
  const notFollowed = positions.filter((position, index) => followed[index] !== position).length;
  return { committed, rolledBack: ledger.rolledBack, ...outcome, notFollowed };
}
