import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import { eventOf, numberOf } from '../workload.mjs';
import { postgresDo, postgresUrl, throwAwayName } from './servers.mjs';

export const keepsKeyOrder = false;
const identifier = 'order';
const concurrentJobs = 24;
const localQueueSize = 500;
const silent = new Logger(() => () => {});

export async function openQueue({ handle }) {
  const schema = throwAwayName();
  const preset = {
    worker: {
      connectionString: postgresUrl(),
      schema,
      concurrentJobs,
      maxPoolSize: 10,
      localQueue: { size: localQueueSize },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
      logger: silent,
    },
  };
  const producer = await makeWorkerUtils({ preset });
  await producer.migrate();
  const runner = await run({
    preset,
    noHandleSignals: true,
    taskList: { [identifier]: async (event) => handle(numberOf(event.data)) },
  });
  return {
    batch: 500,
    callsMax: 4,
    settings: `addJobs of 500, 4 calls in flight; localQueue ${localQueueSize}, ${concurrentJobs} concurrent jobs, batched completion`,
    publish: (numbers) => producer.addJobs(numbers.map((n) => ({ identifier, payload: eventOf(n) }))),
    publishOne: (n) => producer.addJob(identifier, eventOf(n)),
    async close() {
      await runner.stop();
      await producer.release();
      await postgresDo((client) => client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`));
    },
  };
}
