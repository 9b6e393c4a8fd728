// The database manager of the examples, as a process that a test kills or stops at a step of a job.
//
//   node test/programs/database-manager.mjs '{ "config": ..., "event": ..., "step": "made", "signal": "SIGKILL" }'
//
// Publishes the event, waits for what becomes of it, prints the types of those facts as JSON, and stops. With `step` it sends
// itself the signal when its job has come that far.
import { setTimeout as sleep } from 'node:timers/promises';
import { createJiti } from 'jiti';
import pg from 'pg';

const { config, event, step, signal } = JSON.parse(process.argv[2]);
const { startDatabaseManager } = await createJiti(import.meta.url).import('../../examples/database-manager/manager.ts');

const bus = await startDatabaseManager(config, {
  settings: { leaseMs: 1000, lookMs: 20 },
  reached: async (reached) => {
    if (reached !== step) return;
    console.log(`reached ${step}`);
    process.kill(process.pid, signal);
    // A killed process never comes here. A stopped one goes on when it is told to.
    if (signal === 'SIGKILL') await new Promise(() => undefined);
  },
});
await bus.publish(event);

let fact;
const found = new AbortController();
for await (const stored of bus.follow({ type: 'database.>' }, found.signal)) {
  if (stored.event.causationid === event.id) {
    fact = stored.event;
    break;
  }
}
// What the killed process had in hand is not handed out to this one at once, and not waited for by drain().
const client = new pg.Client(config);
await client.connect();
for (let rows = []; rows.length < 2; await sleep(10)) {
  ({ rows } = await client.query('SELECT FROM logs WHERE event_id IN ($1, $2)', [event.id, fact.id]));
}
await client.end();
console.log(JSON.stringify(fact));
await bus.stop();
