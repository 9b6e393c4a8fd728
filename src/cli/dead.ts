import type { AttemptRecord } from '../core/index.ts';
import type { Client } from './client.ts';
import { parseData } from './publish.ts';
import { printable, shortened, table, type Terminal } from './terminal.ts';

export interface DeadFlags {
  readonly json?: boolean;
}

interface WireDeadLetter {
  readonly subscription: string;
  readonly position: number;
  readonly key: string | null;
  readonly deadtime: string;
  readonly attemptCount: number;
  readonly attempts: readonly AttemptRecord[];
  readonly holds: boolean;
  readonly event: Readonly<Record<string, unknown>>;
}

/** `carillon dead list` */
export async function listDead(
  flags: DeadFlags & { readonly subscription?: string; readonly limit?: number },
  client: Client,
  terminal: Terminal,
): Promise<void> {
  const parameters = new URLSearchParams();
  if (flags.subscription !== undefined) parameters.set('subscription', flags.subscription);
  parameters.set('limit', String(flags.limit ?? 100));
  const { dead } = (await client.get(`/dead?${parameters.toString()}`)) as { dead: readonly WireDeadLetter[] };
  if (flags.json) {
    for (const letter of dead) terminal.out(JSON.stringify(letter));
    return;
  }
  if (dead.length === 0) return terminal.err('no dead letters');
  const rows = dead.map((letter) => [
    letter.subscription,
    `#${letter.position}`,
    String(letter.event['type']),
    letter.deadtime,
    `${letter.attemptCount} attempts`,
    shortened(lastError(letter), 100),
  ]);
  for (const line of table(rows.map((row) => row.map(printable)))) terminal.out(line);
}

function lastError({ attempts }: WireDeadLetter): string {
  const last = attempts.at(-1);
  return last === undefined ? '' : `${last.error.name}: ${last.error.message}`;
}

/** `carillon dead show` */
export async function showDead(
  subscription: string,
  position: number,
  flags: DeadFlags,
  client: Client,
  terminal: Terminal,
): Promise<void> {
  const path = `/dead/${encodeURIComponent(subscription)}/${position}`;
  const letter = (await client.get(path)) as WireDeadLetter;
  if (flags.json) return terminal.out(JSON.stringify(letter));
  terminal.out(printable(`${letter.subscription} #${letter.position}, dead since ${letter.deadtime}`));
  if (letter.key !== null)
    terminal.out(printable(`key ${letter.key}${letter.holds ? ', later events wait behind it' : ''}`));
  terminal.out(`${letter.attemptCount} attempts:`);
  for (const { attempt, atMs, durationMs, worker, error } of letter.attempts) {
    const when = new Date(atMs).toISOString();
    terminal.out(
      printable(`  ${attempt}  ${when}  ${durationMs.toFixed(1)} ms  ${worker}  ${error.name}: ${error.message}`),
    );
  }
  for (const line of JSON.stringify(letter.event, null, 2).split('\n')) terminal.out(printable(line));
}

export interface SelectFlags extends DeadFlags {
  /** Rather than at named positions. */
  readonly all?: boolean;
  /** What the subscription sees instead, as JSON. */
  readonly data?: string;
}

/** `carillon dead redrive` and `carillon dead discard` */
export async function settleDead(
  how: 'redrive' | 'discard',
  subscription: string,
  positions: readonly number[],
  flags: SelectFlags,
  client: Client,
  terminal: Terminal,
): Promise<void> {
  const body = {
    subscription,
    ...(flags.all ? {} : { positions }),
    ...(flags.data === undefined ? {} : { data: parseData(flags.data) }),
  };
  const answer = (await client.post(`/dead/${how}`, 'application/json', JSON.stringify(body))) as Record<
    string,
    number
  >;
  if (flags.json) return terminal.out(JSON.stringify(answer));
  terminal.out(how === 'redrive' ? `redriven: ${answer['redriven']}` : `discarded: ${answer['discarded']}`);
}
