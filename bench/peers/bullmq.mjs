import { Queue, Worker } from 'bullmq';
import { eventOf, numberOf } from '../workload.mjs';
import { redisAt, throwAwayName } from './servers.mjs';

export const keepsKeyOrder = false;
const concurrency = 200;
const options = { removeOnComplete: true, removeOnFail: true };
const jobOf = (n) => ({ name: 'order.placed', data: eventOf(n), opts: options });

export async function openQueue({ handle }) {
  const name = throwAwayName();
  const connection = { ...redisAt, maxRetriesPerRequest: null };
  const queue = new Queue(name, { connection });
  const worker = new Worker(name, async (job) => handle(numberOf(job.data.data)), { connection, concurrency });
  worker.on('error', () => {});
  await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
  return {
    batch: 200,
    callsMax: 4,
    settings: `addBulk of 200, 4 calls in flight, concurrency ${concurrency}, removeOnComplete`,
    publish: (numbers) => queue.addBulk(numbers.map(jobOf)),
    publishOne: (n) => queue.add('order.placed', eventOf(n), options),
    async close() {
      await worker.close(true);
      await queue.obliterate({ force: true });
      await queue.close();
    },
  };
}
