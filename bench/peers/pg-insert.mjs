// PostgreSQL with nothing around it: a table with the columns and the two indexes of Carillon's log, one connection, and
// one INSERT of all that has gathered meanwhile, which is a transaction of its own. Nothing looks for duplicates, nobody
// else may append, positions come from an identity column.
import pg from 'pg';
import { eventOf, numberOf } from '../workload.mjs';
import { postgresDo, postgresUrl, throwAwayName } from './servers.mjs';

const groupMax = 1000;
const columns = [
  ['dedupe', 'bigint'],
  ['recorded', 'bigint'],
  ['asked_by', 'int'],
  ['slot', 'smallint'],
  ['id', 'text'],
  ['source', 'text'],
  ['type', 'text'],
  ['subject', 'text'],
  ['time', 'text'],
  ['attributes', 'text'],
  ['data', 'text'],
  ['bytes', 'bytea'],
];
const names = columns.map(([name]) => name).join(', ');
const arrays = columns.map(([, type], i) => `$${i + 1}::${type}[]`).join(', ');

/** Of a UUIDv7's milliseconds and counter: rises with time, as Carillon's number does. */
const dedupeOf = (id) =>
  (Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) % 2 ** 42) * 2048 +
  (Number.parseInt(id.slice(15, 18), 16) % 2048);

const valuesOf = (group, recordedMs) => [
  group.map(({ event }) => dedupeOf(event.id)),
  group.map(() => recordedMs),
  group.map(() => null),
  group.map(({ n }) => n % 64),
  group.map(({ event }) => event.id),
  group.map(({ event }) => event.source),
  group.map(({ event }) => event.type),
  group.map(({ event }) => event.subject),
  group.map(({ event }) => event.time),
  group.map(() => null),
  group.map(({ event }) => JSON.stringify(event.data)),
  group.map(() => null),
];

/** @param told of each event once it is on the disk */
async function open(told = () => {}) {
  const schema = throwAwayName();
  const client = new pg.Client({ connectionString: postgresUrl() });
  await client.connect();
  await client.query(`
    CREATE SCHEMA ${schema};
    SET search_path = ${schema};
    CREATE TABLE events (
      position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, dedupe bigint NOT NULL, recorded bigint NOT NULL,
      asked_by int, slot smallint NOT NULL, id text NOT NULL, source text NOT NULL, type text NOT NULL, subject text,
      time text, attributes text, data text, bytes bytea
    );
    CREATE INDEX ON events (dedupe)`);
  const insert = {
    name: 'insert',
    text: `INSERT INTO events (${names}) SELECT * FROM unnest(${arrays}) RETURNING position`,
    rowMode: 'array',
  };
  const waiting = [];
  let busy = false;

  async function flush() {
    while (waiting.length > 0) {
      const group = waiting.splice(0, groupMax);
      try {
        const { rows } = await client.query({ ...insert, values: valuesOf(group, Date.now()) });
        group.forEach(({ event, resolve }, i) => {
          resolve(Number(rows[i][0]));
          told(event);
        });
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
      // What those just told publish now goes with the next one.
      await new Promise((resolve) => setImmediate(resolve));
    }
    busy = false;
  }

  return {
    publish(n) {
      return new Promise((resolve, reject) => {
        waiting.push({ n, event: eventOf(n), resolve, reject });
        if (busy) return;
        busy = true;
        setImmediate(() => void flush());
      });
    },
    async close() {
      await client.end();
      await postgresDo((other) => other.query(`DROP SCHEMA ${schema} CASCADE`));
    },
  };
}

export const openLog = () => open();

/** An event counts as handled once it is on the disk. */
export async function openQueue({ handle }) {
  const log = await open((event) => handle(numberOf(event.data)));
  return { ...log, publishOne: (n) => log.publish(n) };
}
