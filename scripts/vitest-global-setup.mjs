// Engines start worker threads from dist/, so dist/ must say what src/ says before any test runs. Type errors are the
// business of `npm run check`; a test run reports them and goes on.
//
// Tests of PostgreSQL find their server in CARILLON_POSTGRES_URL: the one given, else one started here.
import { build } from './build.mjs';
import { startPostgres } from './postgres-server.mjs';

export default async function setup() {
  const { warnings } = await build({ ifStale: true, evenWithTypeErrors: true });
  if (warnings !== '') console.warn(`The sources have type errors; the tests run all the same.\n${warnings}\n`);
  if (process.env.CARILLON_POSTGRES_URL) return undefined;
  const server = await startPostgres();
  process.env.CARILLON_POSTGRES_URL = server.url();
  return () => server.dispose();
}
