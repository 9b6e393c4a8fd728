import { AckPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { eventOf, keyOf, numberOf } from '../workload.mjs';
import { natsAt, throwAwayName } from './servers.mjs';

export const keepsKeyOrder = true;

export async function openQueue({ handle }) {
  const name = throwAwayName();
  const connection = await connect(natsAt);
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name, subjects: [`${name}.>`] });
  await manager.consumers.add(name, { durable_name: 'bench', ack_policy: AckPolicy.Explicit });
  const client = jetstream(connection);
  const consumer = await client.consumers.get(name, 'bench');
  const messages = await consumer.consume();

  async function consume() {
    for await (const message of messages) {
      await handle(numberOf(message.json().data));
      message.ack();
    }
  }
  const consuming = consume();
  const publishOne = (n) => client.publish(`${name}.${keyOf(n)}`, JSON.stringify(eventOf(n)));

  return {
    batch: 200,
    callsMax: 4,
    settings: 'stream and consumer with default options, explicit ack; 200 publishes in a call, 4 calls in flight',
    publish: (numbers) => Promise.all(numbers.map(publishOne)),
    publishOne,
    async close() {
      await messages.close();
      await consuming;
      await manager.streams.delete(name);
      await connection.close();
    },
  };
}
