import { type Observation, toError } from '../core/index.ts';
import { printable } from './terminal.ts';

/** The line that tells how an attempt ended; null for what is not told. */
export function handledLine(observation: Observation, json: boolean): string | null {
  if (observation.kind !== 'delivery-end') return null;
  const { subscription, stored, attempt, outcome, durationMs, latencyMs, error } = observation;
  const { position, event } = stored;
  if (json) {
    return JSON.stringify({
      kind: outcome,
      subscription,
      type: event.type,
      id: event.id,
      position,
      attempt,
      durationMs,
      latencyMs,
      ...(error === undefined ? {} : { error: { name: toError(error).name, message: toError(error).message } }),
    });
  }
  const line = `${outcome} ${subscription} ${event.type} #${position} attempt ${attempt} ${durationMs.toFixed(1)} ms`;
  return printable(error === undefined ? line : `${line}: ${toError(error).message}`);
}
