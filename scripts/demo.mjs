// `npm run demo`: makes the clone ready, then replays real GitHub webhooks through the real server.
import { ensureReady, orExplain } from './setup.mjs';

await orExplain(ensureReady);

const { replay } = await import('../examples/github-webhooks/replay.mjs');
process.exitCode = (await replay()) ? 0 : 1;
