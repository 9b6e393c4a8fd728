// A bus on SQLite with a relay of an outbox, as a process that a test kills.
//
//   node test/programs/outbox-relay.mjs DIRECTORY URL
import { createBus } from 'carillon';
import { outboxRelay } from 'carillon/sources/outbox';
import { sqlite } from 'carillon/sqlite';

const [directory, url] = process.argv.slice(2);
const relay = outboxRelay({ url, lookMs: 5, standbyMs: 20, batchEvents: 20 });
const bus = await createBus({ engine: sqlite(directory), modules: [relay] });
console.log('ready');
process.on('SIGTERM', () => void bus.stop());
