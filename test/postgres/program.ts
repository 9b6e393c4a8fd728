import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { until } from './waiting.ts';

/** A process of its own, of a program in programs/, on the built package. Its input ends with this process. */
export interface Program {
  /** What it has told so far: a line of JSON each. */
  readonly told: readonly unknown[];
  /** What it wrote to standard error. */
  stderr(): string;
  /** Resolves with its exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
  running(): boolean;
  /** Fails when it ends without having told that. */
  untilTold(text: string): Promise<void>;
  kill(): Promise<void>;
  /** Ends its input, which tells it to stop, and fails unless it ends well. */
  stop(): Promise<void>;
}

/** @param task given to the program as JSON */
export function startProgram(name: string, task: unknown): Program {
  const path = fileURLToPath(new URL(`programs/${name}.mjs`, import.meta.url));
  const child = spawn(process.execPath, [path, JSON.stringify(task)], { stdio: ['pipe', 'pipe', 'pipe'] });
  const told: unknown[] = [];
  let stderr = '';
  let running = true;
  createInterface({ input: child.stdout }).on('line', (line) => told.push(JSON.parse(line)));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  // What is sent to one that has been killed gets nowhere, which is the point.
  child.stdin.on('error', () => undefined);
  const exited = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      running = false;
      resolve(signal ?? (code as number));
    });
  });
  return {
    told,
    stderr: () => stderr,
    exited,
    running: () => running,
    untilTold: (text) =>
      until(() => {
        if (told.includes(text)) return true;
        if (!running) throw new Error(`${name} ended without having told "${text}":\n${stderr}`);
        return false;
      }, `${name} to tell "${text}"`),
    kill: async () => {
      child.kill('SIGKILL');
      await exited;
    },
    stop: async () => {
      child.stdin.end();
      const how = await exited;
      if (how !== 0) throw new Error(`${name} ended with ${how}:\n${stderr}`);
    },
  };
}
