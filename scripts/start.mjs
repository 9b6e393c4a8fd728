// `npm start -- [options of carillon serve]`: makes the clone ready, then runs the server in this very process,
// so that a signal reaches it directly and it can stop cleanly.
import { fileURLToPath } from 'node:url';
import { ensureReady, orExplain } from './setup.mjs';

await orExplain(ensureReady);

const main = new URL('../dist/cli/main.js', import.meta.url);
process.argv = [process.execPath, fileURLToPath(main), 'serve', ...process.argv.slice(2)];
await import(main.href);
