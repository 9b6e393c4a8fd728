#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { CommanderError } from 'commander';
import { isCarillonError, toError } from '../core/index.ts';
import { ServerProblem, Unreachable } from './client.ts';
import { exitCodeOf } from './exit-codes.ts';
import { createProgram } from './program.ts';
import { printable, processTerminal } from './terminal.ts';
import { UsageError } from './usage-error.ts';

const terminal = processTerminal();
const wantsJson = process.argv.includes('--json');

function version(): string {
  const { version: found } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return found;
}

const program = createProgram({
  terminal,
  version: version(),
  url: process.env['CARILLON_URL'] ?? 'http://127.0.0.1:4600',
  serve: async (flags) => {
    const { serve } = await import('./serve.ts');
    process.exit(await serve(flags, terminal));
  },
});

try {
  await program.parseAsync();
} catch (thrown) {
  explain(thrown);
  process.exit(exitCodeOf(thrown));
}

/** One sentence, what to do, and with `--json` both as an object; a stack only for what nobody foresaw. */
function explain(thrown: unknown): void {
  // Commander has said it already.
  if (thrown instanceof CommanderError) return;
  const problem = thrown instanceof ServerProblem ? thrown.problem : isCarillonError(thrown) ? thrown : undefined;
  if (wantsJson) {
    const { code, message, fix, details } = problem ?? {
      code: undefined,
      message: toError(thrown).message,
      fix: '',
      details: {},
    };
    terminal.err(JSON.stringify({ error: { code, message, fix, details } }));
    return;
  }
  if (problem) {
    terminal.err(`carillon: ${printable(problem.message)}`);
    terminal.err(`  ${problem.fix} (${problem.code})`);
  } else if (thrown instanceof Unreachable) {
    terminal.err(`carillon: ${thrown.message}`);
    terminal.err('  Start one with "carillon serve", or name another with --url or CARILLON_URL.');
  } else if (thrown instanceof UsageError) terminal.err(`carillon: ${printable(thrown.message)}`);
  else terminal.err(`carillon: ${toError(thrown).stack ?? String(thrown)}`);
}
