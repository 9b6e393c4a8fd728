// Publish, handle, acknowledge on PostgreSQL, beside the queues that live there.
import { aboutLoad, figures, run } from './deliver.mjs';

export { figures, run };
export const engine = 'postgres';
export const title = 'Publish, handle, acknowledge on PostgreSQL';
export const about = `${aboutLoad} All on one server. What bounds it: on two cores the server, and the process beside it.`;
export const scenarios = [
  {
    name: 'through',
    label: 'as fast as it goes',
    peers: ['carillon-postgres', 'pg-boss', 'graphile-worker'],
    subject: 'carillon-postgres',
    targets: { 'pg-boss': 3, 'graphile-worker': 3 },
  },
];
