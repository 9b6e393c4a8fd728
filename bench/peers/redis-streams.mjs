import { Redis } from 'ioredis';
import { eventOf, numberOf } from '../workload.mjs';
import { redisAt, throwAwayName } from './servers.mjs';

export const keepsKeyOrder = true;
const group = 'bench';
const readCount = 500;
/** Old entries are trimmed, far behind the reader, so that the server does not fill up. */
const kept = 100_000;

export async function openQueue({ handle }) {
  const stream = throwAwayName();
  const writer = new Redis(redisAt);
  const reader = new Redis(redisAt);
  await writer.xgroup('CREATE', stream, group, '0', 'MKSTREAM');
  let open = true;
  const addTo = (target, n) => target.xadd(stream, 'MAXLEN', '~', kept, '*', 'e', JSON.stringify(eventOf(n)));

  async function consume() {
    let acknowledged;
    while (open) {
      const answer = await reader.xreadgroup(
        'GROUP',
        group,
        'c1',
        'COUNT',
        readCount,
        'BLOCK',
        200,
        'STREAMS',
        stream,
        '>',
      );
      if (answer === null) continue;
      const ids = [];
      for (const [id, fields] of answer[0][1]) {
        await handle(numberOf(JSON.parse(fields[1]).data));
        ids.push(id);
      }
      await acknowledged;
      acknowledged = writer.xack(stream, group, ...ids);
    }
    await acknowledged;
  }
  const consumer = consume();

  return {
    batch: 200,
    callsMax: 4,
    settings: `XADD in pipelines of 200, 4 in flight; one consumer, XREADGROUP COUNT ${readCount}, one XACK for each read`,
    publish(numbers) {
      const pipeline = writer.pipeline();
      for (const n of numbers) addTo(pipeline, n);
      return pipeline.exec();
    },
    publishOne: (n) => addTo(writer, n),
    async close() {
      open = false;
      await consumer;
      await writer.del(stream);
      writer.disconnect();
      reader.disconnect();
    },
  };
}
