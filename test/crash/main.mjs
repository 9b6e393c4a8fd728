// `npm run crash`: makes the clone ready, then runs the crash harness.
import { ensureReady, orExplain } from '../../scripts/setup.mjs';

if (!process.env.CARILLON_CRASH_DIST) await orExplain(() => ensureReady());
await import('./command.mjs');
