// From the call of publish to the call of the handler on PostgreSQL.
import { aboutLoad, figures, run } from './latency.mjs';

export { figures, run };
export const engine = 'postgres';
export const title = 'Latency on PostgreSQL, publish to handled';
export const about = `${aboutLoad} The floor is the bulk insert of the suite before: an event counts as handled there once it is committed. What bounds it: the commit on the server's disk; p99 also tells what else the machine was doing.`;
export const scenarios = [
  {
    name: 'rate-500',
    label: '500 events/s',
    peers: ['pg-insert', 'carillon-postgres', 'graphile-worker', 'pg-boss'],
    subject: 'carillon-postgres',
    bounds: { p50Ms: 2 },
  },
];
