import { parseArgs } from 'node:util';
import { engineNames } from './engines.mjs';
import { modes } from './run.mjs';

export const help = `Usage: npm run crash -- --mode MODE [options]
       npm run crash -- --prove [mutant ...]

Kills an engine's process again and again, each time in one way, and checks that no promise was broken.

  --mode MODE     of sqlite:
                  kill     kill -9 at a random moment
                  power    the file system drops what was not flushed (root)
                  enospc   the disk is full, then has room again (root)
                  eio      a flush fails
                  of postgres, several processes that share one log:
                  kill       kill -9 of one of them; some leave, some hang
                  restart    the server is stopped as by a crash
                  cut        connections are cut, within messages too
                  silence    connections swallow everything, and nobody is told
                  terminate  sessions are ended, in COMMIT too
                  pool       no connections are left
  --cycles N      how often (default 20)
  --seed S        decides moments, sizes and events (default: from the clock; printed)
  --engine NAME   ${engineNames.join(', ')} (default sqlite)
  --json FILE     write the result there too, with every violation
  --keep          leave the data directory of a bad cycle; where it is gets printed
                  (of postgres always: its history, and its tables as JSON lines)
  --prove         show that the harness finds defects: runs it against builds that have one
  --help

The last line of the output is the result as JSON. Exit code: 0 no promise broken, 1 one was, 2 not run.`;

export class UsageError extends Error {}

function wholeNumber(name, text, least) {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new UsageError(`--${name} must be a whole number from ${least}, not ${text}`);
}

function oneOf(name, value, known) {
  if (known.includes(value)) return value;
  throw new UsageError(`--${name} must be one of ${known.join(', ')}, not ${value ?? 'left out'}`);
}

const options = {
  mode: { type: 'string' },
  cycles: { type: 'string', default: '20' },
  seed: { type: 'string' },
  engine: { type: 'string', default: 'sqlite' },
  json: { type: 'string' },
  keep: { type: 'boolean', default: false },
  prove: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
};

export function parseOptions(args) {
  let parsed;
  try {
    parsed = parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    throw new UsageError(error.message);
  }
  const { values, positionals } = parsed;
  if (values.help) return { help: true };
  if (positionals.length > 0 && !values.prove) throw new UsageError(`what is ${positionals.join(' ')}?`);
  const engine = oneOf('engine', values.engine, engineNames);
  return {
    ...values,
    mutants: positionals,
    mode: values.prove ? undefined : oneOf('mode', values.mode, Object.keys(modes[engine])),
    cycles: wholeNumber('cycles', values.cycles, 1),
    seed: wholeNumber('seed', values.seed ?? String(Date.now() % 1_000_000), 0),
    engine,
    // A database is dropped at the end, whatever was in it.
    keep: values.keep || engine === 'postgres',
  };
}
