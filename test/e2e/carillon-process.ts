import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, expect } from 'vitest';

/** The program as it is published. */
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
/** What the servers of these tests run, unless told otherwise. */
const fixture = fileURLToPath(new URL('./fixtures/carillon.config.ts', import.meta.url));

/** A line of `carillon serve --json`. */
export interface Told {
  readonly kind: string;
  readonly subscription?: string;
  readonly id?: string;
  readonly position?: number;
  readonly attempt?: number;
  readonly [field: string]: unknown;
}

export interface CarillonServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** What it has told so far. */
  readonly told: readonly Told[];
  /** What it wrote to standard error so far. */
  stderr(): string;
  /** Whether it still runs. */
  running(): boolean;
  /** Sends a signal and resolves with the exit code, null after a kill. */
  end(signal?: NodeJS.Signals): Promise<number | null>;
  /** Sends a signal and waits for nothing. */
  signal(signal: NodeJS.Signals): void;
  readonly exited: Promise<number | null>;
}

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A directory that is gone after the test. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'carillon-e2e-'));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

interface StartOptions {
  readonly port?: number;
  readonly config?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Outlives the test: whoever started it ends it. */
  readonly keep?: boolean;
}

/** Starts the real server and waits until it listens. It is killed after the test at the latest. */
export async function startServer(
  data: string,
  { port = 0, config = fixture, args = [], env = {}, keep = false }: StartOptions = {},
): Promise<CarillonServer> {
  const child = spawn(
    process.execPath,
    [main, 'serve', '--json', '--data', data, '--port', String(port), '--config', config, ...args],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } },
  );
  const told: Told[] = [];
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  if (!keep) cleanups.push(kill);
  const listening = new Promise<Told>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const one = JSON.parse(line) as Told;
      if (one.kind === 'listening') resolve(one);
      else told.push(one);
    });
    void exited.then((code) => reject(new Error(`the server has ended with ${code}: ${stderr}`)));
  });
  const { url, port: listeningPort } = await listening;
  return {
    url: String(url),
    port: Number(listeningPort),
    pid: child.pid ?? 0,
    told,
    stderr: () => stderr,
    running: () => child.exitCode === null && child.signalCode === null,
    end: (signal = 'SIGTERM') => {
      child.kill(signal);
      return exited;
    },
    signal: (signal) => void child.kill(signal),
    exited,
  };
}

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command of the program to its end. */
export async function carillon(args: readonly string[], { input = '', cwd = tmpdir() } = {}): Promise<CliResult> {
  const child = spawn(process.execPath, [main, ...args], { cwd });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  cleanups.push(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  child.stdin.end(input);
  return { code: await exited, stdout, stderr };
}

/** A command that goes on, such as `tail --follow`: its lines so far. Killed after the test. */
export function carillonLines(args: readonly string[]): readonly string[] {
  const lines: string[] = [];
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  const exited = new Promise((resolve) => child.once('close', resolve));
  cleanups.push(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  return lines;
}

export const cloudEvent = (id: string, more: object = {}): Record<string, unknown> => ({
  specversion: '1.0',
  id,
  source: '/e2e',
  type: 'test.event',
  ...more,
});

/** Publishes in one of the three modes. Rejects unless answered 202. */
export async function publish(
  url: string,
  mode: 'binary' | 'structured' | 'batch',
  events: readonly Record<string, unknown>[],
): Promise<unknown> {
  const [event] = events;
  const { data, ...attributes } = event ?? {};
  const structured = { 'content-type': `application/cloudevents${mode === 'batch' ? '-batch' : ''}+json` };
  const headers =
    mode === 'binary'
      ? {
          ...Object.fromEntries(
            Object.entries(attributes).map(([name, value]) => [`ce-${name}`, encodeURIComponent(String(value))]),
          ),
          'content-type': 'application/json',
        }
      : structured;
  const body = mode === 'binary' ? JSON.stringify(data ?? null) : JSON.stringify(mode === 'batch' ? events : event);
  const response = await fetch(`${url}/events`, { method: 'POST', headers, body });
  const answer: unknown = await response.json();
  if (response.status !== 202) throw new Error(`${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

/** A port of this machine on which nobody listens. */
export async function unusedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Waits until something holds, however long that takes within the test's time. */
export async function until(holds: () => unknown): Promise<void> {
  await expect.poll(async () => Boolean(await holds()), { timeout: 60_000, interval: 20 }).toBe(true);
}
