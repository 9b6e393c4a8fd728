// `npm run example:database`: makes the clone ready, then shows databases created, altered and dropped by events, on the
// server that CARILLON_POSTGRES_URL or DATABASE_URL names, else on one of its own that is gone afterwards.
import { ensureReady, orExplain } from './setup.mjs';

await orExplain(ensureReady);

const { createJiti } = await import('jiti');
const { startPostgres } = await import('./postgres-server.mjs');
const { demonstrate } = await createJiti(import.meta.url).import('../examples/database-manager/demonstration.ts');

const given = process.env.CARILLON_POSTGRES_URL || process.env.DATABASE_URL;
const own = given ? undefined : await startPostgres();
try {
  const held = await demonstrate(given || own.url(), own ? `${own.version}, started for this run` : 'the server given');
  process.exitCode = held ? 0 : 1;
} catch (error) {
  console.error(`carillon: ${error.message}${error.fix ? `\n${error.fix}` : ''}`);
  process.exitCode = 1;
} finally {
  await own?.dispose();
}
