// The PostgreSQL server that every peer which needs one is measured on: the one CARILLON_POSTGRES_URL names, else one of
// this run's own, from the binaries of the tests, with its settings as they come and with fsync on.
import { startPostgres } from '../scripts/postgres-server.mjs';

/** Sees to it that CARILLON_POSTGRES_URL names a server; the processes of the runs inherit it. @returns what ends it */
export async function providePostgres() {
  if (process.env.CARILLON_POSTGRES_URL) return async () => {};
  const server = await startPostgres({ fsync: true });
  process.env.CARILLON_POSTGRES_URL = server.url();
  return () => server.dispose();
}
