// Durable publish on PostgreSQL, beside what `pg` itself can do with the same rows.
import { figures, runIn } from './append.mjs';

export { figures };
export const engine = 'postgres';
export const title = 'Durable publish on PostgreSQL';
export const about =
  'So many publishes in flight, each of one event with a promise of its own that resolves when the event is committed. Making the event and its JSON is part of it, for both. Nobody handles the events. The peer inserts the same rows with `pg` alone: the same columns, two indexes on the same numbers, one connection, one prepared `INSERT … SELECT FROM unnest(…)` of all that has gathered while the one before was under way (1,000 rows at most), each a transaction of its own; it looks for no duplicates and lets nobody else append. What bounds it: one round at a time goes from the client (event, JSON, parameters) to the server (rows, indexes) and to its disk.';

const peers = ['pg-insert', 'carillon-postgres'];
export const scenarios = [
  { name: 'flight-256', label: '256 in flight', peers, reference: 'pg-insert', inFlight: 256, target: 0.7 },
  { name: 'flight-1000', label: '1,000 in flight', peers, reference: 'pg-insert', inFlight: 1000 },
  { name: 'flight-1', label: '1 in flight', peers, reference: 'pg-insert', inFlight: 1 },
];

export const run = (peer, job) => runIn(scenarios, peer, job);
