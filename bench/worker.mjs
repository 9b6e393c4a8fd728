// A worker process of the suite `workers`: handles, and tells how many when it is asked.
import { createHash } from 'node:crypto';
import { createBus } from '../dist/index.js';
import { engineOn } from './peers/carillon-postgres.mjs';
import { moduleOf } from './peers/carillon.mjs';
import { concurrency, hashedBytes, waitMs } from './suites/workers-postgres.mjs';

const hashed = Buffer.alloc(hashedBytes, 'carillon');
let handled = 0;
let bus;

async function work() {
  createHash('sha256').update(hashed).digest();
  await new Promise((resolve) => setTimeout(resolve, waitMs));
  handled++;
}

async function answer(question) {
  if (question === 'handled') return handled;
  if (question === 'stop') return bus.stop().then(() => 'stopped');
  bus = await createBus({ engine: engineOn(question.open), modules: [moduleOf(work, { concurrency })] });
  return 'open';
}

process.on('message', (question) => {
  answer(question).then(
    (result) => process.send(result),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.on('disconnect', () => process.exit(0));
