import { type Logger, toError } from '../core/index.ts';
import type { EventServer } from './server.ts';

/** The parts of the process that a running server listens to: `process` itself, or a stand-in in tests. */
export interface HostProcess {
  on(event: string, listener: (value: unknown) => void): unknown;
  off(event: string, listener: (value: unknown) => void): unknown;
  exit(code: number): void;
}

/**
 * Runs a started server until it has to stop, and resolves with the exit code:
 *
 * - SIGINT or SIGTERM: drains and stops within the deadline, 0; 1 when handlers had to be aborted. A second signal
 *   exits at once with 1;
 * - the engine failed: everything is closed, 1;
 * - an exception nobody caught: logged, and the process exits at once with 1, because nothing is known to be whole.
 */
export async function runUntilStopped(server: EventServer, log: Logger, host: HostProcess = process): Promise<number> {
  const signalled = new Promise<string>((resolve) => {
    let signals = 0;
    const onSignal = (signal: unknown): void => {
      signals += 1;
      if (signals === 1) resolve(String(signal));
      else host.exit(1);
    };
    host.on('SIGINT', onSignal);
    host.on('SIGTERM', onSignal);
  });
  host.on('uncaughtException', (thrown) => {
    const { name, message, stack } = toError(thrown);
    log.error('an exception was not caught; the process ends', { error: { name, message, stack } });
    host.exit(1);
  });

  const reason = await Promise.race([signalled, server.failed]);
  if (typeof reason === 'string') log.debug(`stopping on ${reason}`);
  else log.error('the engine has failed; the server stops', { error: reason.message });
  try {
    await server.stop();
  } catch (error) {
    log.error('the server did not stop cleanly', { error: toError(error).message });
    return 1;
  }
  return typeof reason === 'string' ? 0 : 1;
}
