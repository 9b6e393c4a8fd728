// The crash harness, in a clone that is ready. See docs/crash-testing.md.
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { MissingError } from './commands.mjs';
import { faults } from './checker.mjs';
import { help, parseOptions, UsageError } from './options.mjs';
import { prove } from './prove.mjs';
import { isBad, runCycles } from './run.mjs';

const VIOLATIONS_SHOWN = 20;
const NOT_RUN = 2;

/** The build to test. Another one can be named, which the proof of the harness does by itself. */
const dist = process.env.CARILLON_CRASH_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));

async function main() {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) return console.log(help);
  if (options.prove) return prove({ dist, ...options });
  const { mode, cycles, seed, engine, keep, json } = options;
  console.log(`crash: ${mode}, ${cycles} cycles, seed ${seed}, engine ${engine}, Node ${process.versions.node}`);
  const total = await runCycles({ mode, cycles, seed, settings: { dist, engine }, keep, say: progress() });
  showViolations(total);
  const { violations, kept: _kept, ...result } = total;
  if (json) await writeFile(json, `${JSON.stringify({ ...result, violations }, null, 2)}\n`);
  process.exitCode = isBad(total) ? 1 : 0;
  console.log(JSON.stringify(result));
}

/** A line now and then, and one for each data directory that was checked. */
function progress() {
  const startedMs = Date.now();
  let saidMs = startedMs;
  return ({ cycle, cycles, total, verdict }) => {
    const seconds = ((Date.now() - startedMs) / 1000).toFixed(0);
    if (total) {
      const bad = [...faults, 'broken'].filter((name) => verdict[name] > 0).map((name) => `${verdict[name]} ${name}`);
      const judged = bad.length > 0 ? `BAD: ${bad.join(', ')}` : 'good';
      if (bad.length > 0 || Date.now() - saidMs > 1000) {
        console.log(`${seconds} s: checked after ${total.cycles} cycles, ${total.acked} acknowledged: ${judged}`);
      }
    } else if (Date.now() - saidMs > 5000) {
      saidMs = Date.now();
      console.log(`${seconds} s: cycle ${cycle} of ${cycles}`);
    }
  };
}

function showViolations({ violations, kept }) {
  for (const { fault, rule, ...details } of violations.slice(0, VIOLATIONS_SHOWN)) {
    console.log(`${fault}: not kept: ${rule} ${JSON.stringify(details)}`);
  }
  if (violations.length > VIOLATIONS_SHOWN) console.log(`... and ${violations.length - VIOLATIONS_SHOWN} more`);
  for (const directory of kept) console.log(`kept: ${directory}`);
}

try {
  await main();
} catch (error) {
  if (error instanceof UsageError) console.error(`crash: ${error.message}\n\n${help}`);
  else if (error instanceof MissingError) console.error(`crash: ${error.message}.`);
  else console.error(error);
  process.exitCode = error instanceof UsageError || error instanceof MissingError ? NOT_RUN : 1;
}
