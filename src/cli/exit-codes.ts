import { CommanderError } from 'commander';
import { ServerProblem, Unreachable } from './client.ts';
import { UsageError } from './usage-error.ts';

/** What the process ends with; {@link exitCodeHelp} tells the same. */
const exitCodes = { ok: 0, failure: 1, usage: 2, unreachable: 3, notFound: 4, conflict: 5 } as const;

export const exitCodeHelp: string = `
Exit codes:
  0  done
  1  it failed
  2  the command line, or the event given, is not valid
  3  no server answers at the URL
  4  what was named is not there
  5  refused: a handler said no, or somebody was first`;

/** The exit code that tells what was thrown. */
export function exitCodeOf(thrown: unknown): number {
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  if (thrown instanceof UsageError) return exitCodes.usage;
  if (thrown instanceof Unreachable) return exitCodes.unreachable;
  if (thrown instanceof ServerProblem) return ofStatus(thrown.status);
  return exitCodes.failure;
}

function ofStatus(status: number): number {
  switch (status) {
    case 400:
    case 413:
    case 415:
      return exitCodes.usage;
    case 404:
      return exitCodes.notFound;
    case 409:
    case 410:
      return exitCodes.conflict;
    default:
      return exitCodes.failure;
  }
}
