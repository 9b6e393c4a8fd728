import PgBoss from 'pg-boss';
import { eventOf, numberOf } from '../workload.mjs';
import { postgresDo, postgresUrl, throwAwayName } from './servers.mjs';

export const keepsKeyOrder = false;
const queue = 'orders';
const fetchSize = 2000;
const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

async function openBoss(handle, consume) {
  const schema = throwAwayName();
  const boss = new PgBoss({ connectionString: postgresUrl(), schema, max: 10, supervise: false, schedule: false });
  boss.on('error', () => {});
  await boss.start();
  await boss.createQueue(queue);
  const end = await consume(boss);
  return {
    publish: (numbers) => boss.insert(numbers.map((n) => ({ name: queue, data: eventOf(n) }))),
    publishOne: (n) => boss.send(queue, eventOf(n)),
    async close() {
      await end();
      await boss.stop({ graceful: false, wait: true });
      await postgresDo((client) => client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`));
    },
  };
}

/** Throughput: its fetch and complete in a loop, which is faster than its own polling workers. */
export async function openQueue({ handle }) {
  let open = true;
  const consume = (boss) => {
    const loop = (async () => {
      while (open) {
        const jobs = await boss.fetch(queue, { batchSize: fetchSize });
        for (const job of jobs) await handle(numberOf(job.data.data));
        if (jobs.length > 0)
          await boss.complete(
            queue,
            jobs.map((job) => job.id),
          );
        else await pause();
      }
    })();
    return () => {
      open = false;
      return loop;
    };
  };
  const settings = `insert of 500, 4 calls in flight; fetch of up to ${fetchSize} and complete in a loop`;
  return { batch: 500, callsMax: 4, settings, ...(await openBoss(handle, consume)) };
}

/** Latency: its own worker, polling as often as it allows. */
export async function openSingles({ handle }) {
  const consume = async (boss) => {
    const options = { batchSize: fetchSize, pollingIntervalSeconds: 0.5 };
    await boss.work(queue, options, async (jobs) => {
      for (const job of jobs) await handle(numberOf(job.data.data));
    });
    return () => boss.offWork(queue);
  };
  return {
    settings: 'work() with the shortest polling interval it takes, 0.5 s',
    ...(await openBoss(handle, consume)),
  };
}
