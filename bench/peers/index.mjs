// Every peer: what it is called, what it needs, and where it is. Loading waits until a run needs it.

/** @typedef {{ label: string, packages: string[], server?: 'redis' | 'nats' | 'postgres' | 'pg_recvlogical', load: () => Promise<object> }} Peer */

/** Whether a peer is Carillon itself, on whichever engine: then goals are its. */
export const isCarillon = (peer) => peer.startsWith('carillon');

/** @type {Record<string, Peer>} */
export const peers = {
  carillon: { label: 'carillon', packages: [], load: () => import('./carillon.mjs') },
  node: { label: 'node EventEmitter', packages: [], load: () => import('./node.mjs') },
  eventemitter3: {
    label: 'eventemitter3',
    packages: ['eventemitter3'],
    load: () => import('./eventemitter3.mjs'),
  },
  eventemitter2: {
    label: 'eventemitter2',
    packages: ['eventemitter2'],
    load: () => import('./eventemitter2.mjs'),
  },
  mitt: { label: 'mitt', packages: ['mitt'], load: () => import('./mitt.mjs') },
  file: { label: 'bare file append', packages: [], load: () => import('./file.mjs') },
  sqlite: {
    label: 'bare SQLite',
    packages: ['@photostructure/sqlite'],
    load: () => import('./sqlite.mjs'),
  },
  bullmq: {
    label: 'BullMQ',
    packages: ['bullmq', 'ioredis'],
    server: 'redis',
    load: () => import('./bullmq.mjs'),
  },
  'redis-streams': {
    label: 'Redis Streams',
    packages: ['ioredis'],
    server: 'redis',
    load: () => import('./redis-streams.mjs'),
  },
  nats: {
    label: 'NATS JetStream',
    packages: ['@nats-io/jetstream', '@nats-io/transport-node'],
    server: 'nats',
    load: () => import('./nats.mjs'),
  },
  'carillon-postgres': {
    label: 'carillon on PostgreSQL',
    packages: ['pg'],
    server: 'postgres',
    load: () => import('./carillon-postgres.mjs'),
  },
  'carillon-worker': {
    label: 'one process',
    packages: [],
    server: 'postgres',
    load: async () => ({ ...(await import('./carillon-postgres.mjs')), workers: 1 }),
  },
  'carillon-workers': {
    label: 'two processes',
    packages: [],
    server: 'postgres',
    load: async () => ({ ...(await import('./carillon-postgres.mjs')), workers: 2 }),
  },
  'pg-insert': {
    label: 'bulk insert with pg',
    packages: ['pg'],
    server: 'postgres',
    load: () => import('./pg-insert.mjs'),
  },
  'pg-boss': {
    label: 'pg-boss',
    packages: ['pg-boss', 'pg'],
    server: 'postgres',
    load: () => import('./pg-boss.mjs'),
  },
  'graphile-worker': {
    label: 'graphile-worker',
    packages: ['graphile-worker', 'pg'],
    server: 'postgres',
    load: () => import('./graphile-worker.mjs'),
  },
  changes: { label: 'carillon, row changes', packages: ['pg'], load: () => import('./changes.mjs') },
  pg_recvlogical: {
    label: 'pg_recvlogical',
    packages: [],
    server: 'pg_recvlogical',
    load: () => import('./pg_recvlogical.mjs'),
  },
};
