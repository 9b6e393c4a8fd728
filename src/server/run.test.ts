import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { carillonError, silentLogger } from '../core/index.ts';
import { type HostProcess, runUntilStopped } from './run.ts';
import type { EventServer } from './server.ts';

class FakeProcess extends EventEmitter implements HostProcess {
  readonly exits: number[] = [];
  exit(code: number): void {
    this.exits.push(code);
  }
}

function run(stop: () => Promise<void> = async () => undefined) {
  const host = new FakeProcess();
  let fail: (error: Error) => void = () => undefined;
  const failed = new Promise<Error>((resolve) => (fail = resolve));
  let stops = 0;
  const server = { failed, stop: () => (stops++, stop()) } as unknown as EventServer;
  const code = runUntilStopped(server, silentLogger, host);
  return { host, code, fail, stops: () => stops };
}

describe('runUntilStopped', () => {
  it.each(['SIGINT', 'SIGTERM'])('stops on %s and ends with 0', async (signal) => {
    const { host, code, stops } = run();
    host.emit(signal, signal);
    expect(await code).toBe(0);
    expect([stops(), host.exits]).toEqual([1, []]);
  });

  it('exits at once on a second signal', () => {
    const { host, stops } = run(() => new Promise(() => undefined));
    host.emit('SIGTERM', 'SIGTERM');
    expect(host.exits).toEqual([]);
    host.emit('SIGINT', 'SIGINT');
    expect(host.exits).toEqual([1]);
    expect(stops()).toBeLessThanOrEqual(1);
  });

  it('ends with 1 when the stop had to abort handlers', async () => {
    const { host, code } = run(() => Promise.reject(carillonError('CARILLON_DRAIN_TIMEOUT', 'too slow')));
    host.emit('SIGTERM', 'SIGTERM');
    expect(await code).toBe(1);
  });

  it('closes and ends with 1 when the engine fails', async () => {
    const { code, fail, stops } = run();
    fail(new Error('fsync failed'));
    expect(await code).toBe(1);
    expect(stops()).toBe(1);
  });

  it('exits at once with 1 on an exception nobody caught', () => {
    const { host, stops } = run();
    host.emit('uncaughtException', new Error('oops'));
    expect([host.exits, stops()]).toEqual([[1], 0]);
  });
});
