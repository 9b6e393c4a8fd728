import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/testing/index.ts';
import { freshDatabase, type FreshDatabase } from './fresh-database.ts';
import { startProgram } from './program.ts';
import { outsideStep, stepNames } from './programs/fault.mjs';
import { until } from './waiting.ts';

const TRANSFERS = 1000;
const ACCOUNTS = 20;
const BALANCE = 10_000;
const RANDOM_KILLS = 10;

/** Of the tables: nothing in them prevents that something is done twice, so that it would show. */
interface Books {
  readonly money: number;
  readonly begun: number;
  readonly applied: number;
  readonly appliedOnce: number;
  readonly receipts: number;
  readonly receiptsOnce: number;
}

const wholeBooks: Books = {
  money: ACCOUNTS * BALANCE,
  begun: TRANSFERS,
  applied: TRANSFERS,
  appliedOnce: TRANSFERS,
  receipts: TRANSFERS,
  receiptsOnce: TRANSFERS,
};

describe('transfers between accounts, by a process that is killed again and again', { timeout: 300_000 }, () => {
  let database: FreshDatabase;
  let client: pg.Client;

  beforeEach(async () => {
    database = await freshDatabase();
    client = new pg.Client(database.url);
    await client.connect();
    await client.query(`
      CREATE TABLE accounts (no int PRIMARY KEY, balance int NOT NULL);
      INSERT INTO accounts SELECT n, ${BALANCE} FROM generate_series(0, ${ACCOUNTS - 1}) AS n;
      CREATE TABLE begun (transfer int PRIMARY KEY);
      CREATE TABLE applied (transfer int NOT NULL);
      CREATE TABLE receipts (transfer int NOT NULL);`);
  });
  afterEach(async () => {
    await client.end();
    await database.drop();
  });

  async function books(): Promise<Books> {
    const { rows } = await client.query<Books>(`
      SELECT (SELECT sum(balance)::int FROM accounts) AS money, (SELECT count(*)::int FROM begun) AS begun,
             (SELECT count(*)::int FROM applied) AS applied,
             (SELECT count(DISTINCT transfer)::int FROM applied) AS "appliedOnce",
             (SELECT count(*)::int FROM receipts) AS receipts,
             (SELECT count(DISTINCT transfer)::int FROM receipts) AS "receiptsOnce"`);
    return rows[0] as Books;
  }

  async function finish(transfers: number, more: object = {}): Promise<Books> {
    const last = startProgram('transfers', { url: database.url, transfers, accounts: ACCOUNTS, ...more });
    await until(async () => {
      const { appliedOnce, receiptsOnce } = await books();
      if (!last.running()) throw new Error(`the last process ended:\n${last.stderr()}`);
      return appliedOnce === transfers && receiptsOnce === transfers;
    }, 'every transfer to be made and receipted');
    await last.stop();
    return books();
  }

  it('each is made exactly once, and no money is lost or made, at whatever step the process dies', async () => {
    const random = seededRandom(42);
    const lives = stepNames.length + RANDOM_KILLS;
    for (let life = 0; life < lives; life++) {
      const step = stepNames[life];
      const transfers = Math.ceil(((life + 1) * TRANSFERS) / (lives + 1));
      const nth = 1 + Math.floor(random() * 20);
      const task = { url: database.url, transfers, accounts: ACCOUNTS, ...(step ? { step, nth } : {}) };
      const process = startProgram('transfers', task);
      if (step === undefined) {
        await process.untilTold('ready');
        await sleep(random() * 250);
        await process.kill();
      }
      const how = await Promise.race([process.exited, sleep(30_000, 'nothing within 30 s')]);
      expect(how, `${step}, number ${nth}: how the process ended\n${process.stderr()}`).toBe('SIGKILL');
      const { applied, appliedOnce, receipts, receiptsOnce } = await books();
      expect([applied, receipts], `made so far, after ${step}`).toEqual([appliedOnce, receiptsOnce]);
    }
    expect(await finish(TRANSFERS)).toEqual(wholeBooks);
    console.log(
      `transfers: ${TRANSFERS}, each made once, over ${lives} kills at ${stepNames.length} steps and at random`,
    );
  });

  it('(a handler that is acknowledged outside of its transaction makes one twice)', async () => {
    const outside = { acknowledgesOutside: true };
    const task = { url: database.url, transfers: 50, accounts: ACCOUNTS, step: outsideStep, nth: 10, ...outside };
    expect(await startProgram('transfers', task).exited).toBe('SIGKILL');
    const { money, applied, appliedOnce } = await finish(50, outside);
    expect(applied).toBeGreaterThan(appliedOnce);
    expect(money).toBeGreaterThan(wholeBooks.money);
  });
});
