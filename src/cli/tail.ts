import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, ServerProblem, Unreachable } from './client.ts';
import type { ServerSentEvent } from './server-sent-events.ts';
import { printable, shortened, type Terminal } from './terminal.ts';

export interface TailFlags {
  readonly type?: string;
  readonly subject?: string;
  readonly after?: number;
  readonly follow?: boolean;
  readonly json?: boolean;
}

type WireEvent = Readonly<Record<string, unknown>>;

interface Row {
  readonly position: number;
  readonly recordedtime?: string;
  readonly event: WireEvent;
}

const RECONNECT_MS = 500;

/** `carillon tail`: the events of the log, and with `--follow` those that come. */
export async function tail(flags: TailFlags, client: Client, terminal: Terminal): Promise<void> {
  if (flags.follow) return follow(flags, client, terminal);
  let after: number | null = flags.after ?? 0;
  while (after !== null) {
    const page = (await client.get(`/events?${query(flags, { after, limit: 1_000 })}`)) as {
      events: readonly Row[];
      next: number | null;
    };
    for (const row of page.events) terminal.out(told(row, flags));
    after = page.next;
  }
}

/** A connection that breaks is made again and goes on behind the last event: none is lost, none comes twice. */
async function follow(flags: TailFlags, client: Client, terminal: Terminal): Promise<void> {
  const start = flags.after === undefined ? { from: 'now' } : { after: flags.after };
  let lastEventId: string | undefined;
  let connected = false;
  for (;;) {
    try {
      for await (const received of client.stream(`/events/stream?${query(flags, start)}`, lastEventId)) {
        connected = true;
        lastEventId = received.id;
        show(received, flags, terminal);
      }
      connected = true;
    } catch (error) {
      // The first connection has to come about; a server that says no will say it again.
      const final = error instanceof ServerProblem && error.status < 500;
      if (final || (!connected && (error instanceof Unreachable || error instanceof ServerProblem))) throw error;
    }
    terminal.err('the connection has ended; connecting again ...');
    await sleep(RECONNECT_MS);
  }
}

function show({ id, event, data }: ServerSentEvent, flags: TailFlags, terminal: Terminal): void {
  if (event === 'gap') {
    terminal.err(`a gap: retention has removed events here; going on from the first one there is (${printable(data)})`);
    return;
  }
  terminal.out(told({ position: Number(id), event: JSON.parse(data) as WireEvent }, flags));
}

function query({ type, subject }: TailFlags, more: Readonly<Record<string, string | number>>): string {
  const parameters = new URLSearchParams();
  if (type !== undefined) parameters.set('type', type);
  if (subject !== undefined) parameters.set('subject', subject);
  for (const [name, value] of Object.entries(more)) parameters.set(name, String(value));
  return parameters.toString();
}

function told(row: Row, { json }: TailFlags): string {
  if (json) return JSON.stringify(row);
  const { type, source, subject, time, data, data_base64: bytes } = row.event;
  const parts = [`#${row.position}`, row.recordedtime ?? (typeof time === 'string' ? time : ''), type, source, subject];
  const head = parts.filter((part) => typeof part === 'string' && part !== '').join('  ');
  const body = data === undefined ? (typeof bytes === 'string' ? `${bytes} (base64)` : '') : JSON.stringify(data);
  return `${printable(head)}  ${shortened(body, 300)}`.trimEnd();
}
