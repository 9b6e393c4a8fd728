// `npm run crash:changes`: makes the clone ready, then runs the crash harness of row changes.
import { ensureReady, orExplain } from '../../../scripts/setup.mjs';

if (!process.env.CARILLON_CRASH_DIST) await orExplain(() => ensureReady());
await import('./command.mjs');
