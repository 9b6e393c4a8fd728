// A process of the bus that looks at the log all the time, and publishes events of its own in between: both move what
// applications have published in their transactions into the log. Ends with its input.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createBus } from '../../../dist/bus/index.js';
import { postgres } from '../../../dist/engines/postgres/index.js';
import { makeEvent } from '../../../dist/core/index.js';

const { url, lookMs, publishEveryMs } = JSON.parse(process.argv[2]);
const bus = await createBus({ engine: postgres({ url, lookMs }) });
let stopping = false;
process.stdin.on('end', () => (stopping = true)).resume();
console.log(JSON.stringify('ready'));
while (!stopping) {
  await bus.publish(makeEvent({ specversion: '1.0', id: randomUUID(), source: '/sequencer', type: 'tick' }, null));
  await sleep(publishEveryMs);
}
await bus.stop();
process.exit(0);
