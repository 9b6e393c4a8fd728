// Carillon on PostgreSQL, from this repository's dist/. Each run has a schema of its own, which is dropped afterwards.
import { postgres } from '../../dist/engines/postgres/index.js';
import { logOn, queueOn } from './carillon.mjs';
import { postgresDo, postgresUrl, throwAwayName } from './servers.mjs';

export const keepsKeyOrder = true;

export const newSchema = throwAwayName;
export const engineOn = (schema) => postgres({ url: postgresUrl(), schema });

export const dropSchema = (schema) => postgresDo((client) => client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`));

async function withOwnSchema(open) {
  const schema = throwAwayName();
  const opened = await open(engineOn(schema));
  return {
    ...opened,
    async close() {
      await opened.close();
      await dropSchema(schema);
    },
  };
}

/** A log that others go on with. */
export const openLogIn = (schema) => logOn(engineOn(schema));

export const openLog = () => withOwnSchema(logOn);
export const openQueue = ({ handle }) => withOwnSchema((engine) => queueOn(engine, handle));
