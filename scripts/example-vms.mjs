// `npm run example:vms [-- options]`: makes the clone ready, then runs examples/vm-manager.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { ensureReady, orExplain } from './setup.mjs';

await orExplain(ensureReady);

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const args = [at('node_modules/jiti/lib/jiti-cli.mjs'), at('examples/vm-manager/main.ts'), ...process.argv.slice(2)];
const child = spawn(process.execPath, args, { stdio: 'inherit' });
// The fleet takes its machines down before it ends.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => (process.exitCode = signal ? 128 + constants.signals[signal] : code));
