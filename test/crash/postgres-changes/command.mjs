// Kills the process that captures a database under load, and checks that its events rebuild the tables, in a clone that is
// ready. See docs/postgres-changes.md.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isBad, trial } from './trial.mjs';

const help = `Usage: npm run crash:changes -- [options]

Runs pgbench (where it is not installed, the same transactions) against a captured database, kills the
capturing process with kill -9 again and again, the first time in its snapshot, and rebuilds the four
tables from the events.

  --seconds N   how long pgbench runs (default 30)
  --kills N     how often the process is killed (default 5)
  --scale N     pgbench's scale: 100,000 accounts each (default 1)
  --seed S      decides the moments (default: from the clock; printed)
  --help

The last line of the output is the result as JSON. Exit code: 0 the tables are the same, 1 they are not, 2 not run.`;

const dist = process.env.CARILLON_CRASH_DIST ?? fileURLToPath(new URL('../../../dist', import.meta.url));

function whole(name, text) {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new Error(`--${name} must be a whole number from 1, not ${text}`);
}

async function main() {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '30' },
      kills: { type: 'string', default: '5' },
      scale: { type: 'string', default: '1' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000_007) },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return console.log(help);
  const [seconds, kills, scale, seed] = ['seconds', 'kills', 'scale', 'seed'].map((name) => whole(name, values[name]));
  console.log(`crash:changes: ${kills} kills in ${seconds} s, seed ${seed}, Node ${process.versions.node}`);
  const result = await trial({ dist, seconds, kills, scale, seed, say: (text) => console.log(text) });
  console.log(JSON.stringify(result));
  process.exitCode = isBad(result) ? 1 : 0;
  return undefined;
}

try {
  await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 2;
}
