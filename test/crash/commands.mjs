import { spawn, spawnSync } from 'node:child_process';

/** The machine lacks what a mode needs: told to the reader without a stack, exit code 2. */
export class MissingError extends Error {}

/** Runs a program to its end; throws with what it printed when it fails. */
export function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${command} ${args.join(' ')} ended with code ${code}: ${output.trim()}`));
    });
  });
}

export function isThere(command) {
  return spawnSync('sh', ['-c', 'command -v "$1"', 'sh', command], { stdio: 'ignore' }).status === 0;
}

export function needRoot(mode) {
  if (process.getuid?.() === 0) return;
  throw new MissingError(`the mode "${mode}" mounts file systems of its own, and so needs root`);
}

export function need(commands, mode) {
  const missing = commands.filter((command) => !isThere(command));
  if (missing.length > 0) throw new MissingError(`the mode "${mode}" needs ${missing.join(', ')}, which is not here`);
}
