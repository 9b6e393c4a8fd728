// The servers some peers need: Redis and NATS on loopback, PostgreSQL where CARILLON_POSTGRES_URL says. Each is asked what
// it is and what it promises, never configured.
import { connect } from '@nats-io/transport-node';
import { Redis } from 'ioredis';
import { execFileSync } from 'node:child_process';
import pg from 'pg';
import { randomBytes } from 'node:crypto';
import { connect as connectSocket } from 'node:net';
import { findTool } from '../../scripts/postgres-tools.mjs';

const host = '127.0.0.1';
const ports = { redis: 6379, nats: 4222 };
export const redisAt = { host, port: ports.redis };
export const natsAt = { servers: `${host}:${ports.nats}` };

/** A name that nobody else uses, for one run. */
export const throwAwayName = () => `carillon_bench_${randomBytes(6).toString('hex')}`;

/** Where PostgreSQL is; npm run bench names a server in every process it starts. */
export const postgresUrl = () => process.env.CARILLON_POSTGRES_URL;

/** Runs statements on a connection of its own. */
export async function postgresDo(work) {
  const client = new pg.Client({ connectionString: postgresUrl(), connectionTimeoutMillis: 5000 });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function probeRedis() {
  const redis = new Redis({ ...redisAt, lazyConnect: true, retryStrategy: null, connectTimeout: 2000 });
  redis.on('error', () => {});
  try {
    await redis.connect();
    const version = /redis_version:(\S+)/.exec(await redis.info('server'))?.[1] ?? 'unknown';
    const setting = async (name) => (await redis.config('GET', name))[1];
    const appendonly = await setting('appendonly');
    const appendfsync = await setting('appendfsync');
    const promises = {
      no: 'none: appendonly no, what is acknowledged is in memory only',
      always: 'appendonly yes, appendfsync always: fsync before the reply',
      everysec: 'appendonly yes, appendfsync everysec: up to a second of acknowledged events can be lost',
    };
    const durability =
      appendonly === 'no' ? promises.no : (promises[appendfsync] ?? `appendonly yes, appendfsync ${appendfsync}`);
    return { version: `Redis ${version}`, durability };
  } finally {
    redis.disconnect();
  }
}

async function probeNats() {
  const connection = await connect({ ...natsAt, reconnect: false, timeout: 2000 });
  try {
    const { version, jetstream } = connection.info;
    if (!jetstream) throw new Error('its JetStream is switched off');
    const durability =
      'file storage, 1 replica; acknowledged before fsync (the server syncs every 2 minutes unless configured otherwise)';
    return { version: `nats-server ${version}`, durability };
  } finally {
    await connection.close();
  }
}

function probePostgres() {
  return postgresDo(async (client) => {
    const show = async (name) => (await client.query(`SHOW ${name}`)).rows[0][name];
    const durability = `fsync ${await show('fsync')}, synchronous_commit ${await show('synchronous_commit')}: a commit is on the disk before it is acknowledged`;
    return { version: `PostgreSQL ${(await show('server_version')).split(' ')[0]}`, durability };
  });
}

/** Tells a server that is not there from one that does not let us in. */
function mustListen(port) {
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ host, port, timeout: 2000 });
    const give = (settle, value) => {
      socket.destroy();
      settle(value);
    };
    socket.on('connect', () => give(resolve));
    socket.on('timeout', () => give(reject, new Error('no answer within 2 s')));
    socket.on('error', () => give(reject, new Error('nothing listens there')));
  });
}

const probes = { redis: probeRedis, nats: probeNats, postgres: probePostgres };
const names = {
  redis: `Redis on ${host}:${ports.redis}`,
  nats: `NATS on ${host}:${ports.nats}`,
  postgres: 'PostgreSQL',
};

/** A program, and no server: the suite that needs it starts a server of its own. */
async function probeRecvlogical() {
  const program = await findTool('pg_recvlogical');
  if (program === null) return { found: false, reason: 'it is not installed (package postgresql)' };
  const version = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim();
  return { found: true, version, durability: 'none: it writes to /dev/null' };
}

/** What a server is and promises, or why it cannot be used. */
export async function probe(server) {
  if (server === 'pg_recvlogical') return probeRecvlogical();
  try {
    if (ports[server]) await mustListen(ports[server]);
    return { found: true, ...(await probes[server]()) };
  } catch (error) {
    const cause = error.errors?.[0] ?? error;
    return {
      found: false,
      reason: `${names[server]} cannot be used: ${cause.message || cause.code}`,
    };
  }
}
