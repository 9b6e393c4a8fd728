// Transfers money between accounts. A transfer is begun by an application's own transaction, which takes the amount from
// one account and publishes `transfer.begun`. Its handler adds it to the other within `ctx.tx` and publishes
// `transfer.done`, for which another one writes a receipt. Ends with its input, or at the step it is told.
import pg from 'pg';
import { createBus } from '../../../dist/bus/index.js';
import { defineModule, fixed, makeEvent } from '../../../dist/core/index.js';
import { postgres } from '../../../dist/engines/postgres/index.js';
import { dieAt } from './fault.mjs';

const { url, transfers, accounts, step, nth, acknowledgesOutside } = JSON.parse(process.argv[2]);
if (step) dieAt(step, nth);

const credit = 'UPDATE accounts SET balance = balance + $1 WHERE no = $2';
const apply = 'INSERT INTO applied (transfer) VALUES ($1)';
const own = new pg.Client(url);
own.commits = 'outside commit';
await own.connect();

/** Each kill counts as an attempt. */
const common = { from: 'beginning', retry: fixed({ attemptsMax: 1000, delayMs: 50 }) };
const module = defineModule('bank', (m) => {
  m.handle(
    'transfer.begun',
    async ({ data }, ctx) => {
      if (acknowledgesOutside) {
        await own.query('BEGIN');
        await own.query(credit, [data.amount, data.to]);
        await own.query(apply, [data.transfer]);
        await own.query('COMMIT');
      } else {
        await ctx.tx.run(credit, [data.amount, data.to]);
        await ctx.tx.run(apply, [data.transfer]);
      }
      ctx.publish(event(`done-${data.transfer}`, 'transfer.done', data));
    },
    // One at a time where it has one connection of its own.
    { ...common, name: 'credit', transaction: !acknowledgesOutside, concurrency: acknowledgesOutside ? 1 : 4 },
  );
  m.handle(
    'transfer.done',
    ({ data }, { tx }) => tx.run('INSERT INTO receipts (transfer) VALUES ($1)', [data.transfer]),
    { ...common, name: 'receipt', transaction: true, order: 'none', concurrency: 4 },
  );
});

function event(id, type, data) {
  return makeEvent({ specversion: '1.0', id, source: '/bank', type, subject: `account ${data.to}` }, data);
}

const bus = await createBus({
  engine: postgres({ url, lookMs: 10, leaseMs: 500 }),
  modules: [module],
});
console.log(JSON.stringify('ready'));

const client = new pg.Client(url);
client.commits = 'debit commit';
await client.connect();
/** Begins the transfer unless that has been done: who does not know looks, since the debit and its note commit together. */
async function transfer(no) {
  const from = no % accounts;
  const data = { transfer: no, from, to: (no * 7 + 3) % accounts, amount: 1 + (no % 50) };
  await client.query('BEGIN');
  const { rowCount } = await client.query('INSERT INTO begun (transfer) VALUES ($1) ON CONFLICT DO NOTHING', [no]);
  if (rowCount === 1) {
    await client.query('UPDATE accounts SET balance = balance - $1 WHERE no = $2', [data.amount, from]);
    await bus.publish(event(`begun-${no}`, 'transfer.begun', data), { tx: client });
  }
  await client.query('COMMIT');
}

let stopping = false;
process.stdin.on('end', () => (stopping = true)).resume();
for (let no = 0; no < transfers && !stopping; no++) await transfer(no);
console.log(JSON.stringify('all begun'));
while (!stopping) await new Promise((resolve) => setTimeout(resolve, 5));
await bus.stop();
await Promise.all([client.end(), own.end()]);
process.exit(0);
