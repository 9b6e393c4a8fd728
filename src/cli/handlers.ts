import type { SubscriptionState } from '../core/index.ts';
import type { Client } from './client.ts';
import { printable, table, type Terminal } from './terminal.ts';

/** `carillon handlers`: how each subscription of the server stands. */
export async function handlers(flags: { readonly json?: boolean }, client: Client, terminal: Terminal): Promise<void> {
  const answer = (await client.get('/handlers')) as { handlers: readonly SubscriptionState[] };
  if (flags.json) {
    for (const state of answer.handlers) terminal.out(JSON.stringify(state));
    return;
  }
  if (answer.handlers.length === 0) return terminal.err('no handlers');
  const head = ['HANDLER', 'ASKS FOR', 'POSITION', 'LAG', 'RUNNING', 'RETRYING', 'HELD', 'DEAD', 'HANDLED', 'FAILED'];
  const rows = answer.handlers.map((state) =>
    [
      state.name,
      state.target,
      state.position,
      state.lag,
      state.running,
      state.retrying,
      state.held,
      state.dead,
      state.handled,
      state.stalled ? `${state.failed} (stalled)` : state.failed,
    ].map((cell) => printable(String(cell))),
  );
  for (const line of table([head, ...rows])) terminal.out(line);
}
