import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { HypervisorError } from './hypervisor-error.ts';

/** Processes outlive those who started them, so one is known by what it was started with: `-uuid`, and the run's id. */

const STDERR_CHARACTERS = 2000;
/** Programs of QEMU get these and nothing else of the manager's environment. */
const environment = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' };

const run = promisify(execFile);

interface Process {
  readonly pid: number;
  /** What it was started with. */
  readonly words: readonly string[];
}

/** The process of a run, if there is one that has not ended. */
export async function processOf(id: string): Promise<number | undefined> {
  const [found] = await processesOf((words) => words.includes('-uuid') && words[words.indexOf('-uuid') + 1] === id);
  return found?.pid;
}

/** The processes that have not ended and were started with words that fit. */
export async function processesOf(fits: (words: readonly string[]) => boolean): Promise<readonly Process[]> {
  const all = existsSync('/proc/self/cmdline') ? await processesOfLinux() : await processesOfPs();
  return all.filter(({ words }) => fits(words));
}

async function processesOfLinux(): Promise<Process[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const read = async (pid: string): Promise<Process> => {
    // One that has ended meanwhile has no file; one that nobody has waited for yet has an empty one.
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    return { pid: Number(pid), words: line.split('\0') };
  };
  return Promise.all(pids.map(read));
}

async function processesOfPs(): Promise<Process[]> {
  const { stdout } = await run('ps', ['-axwwo', 'pid=,command='], { env: environment, maxBuffer: 16 * 1024 * 1024 });
  return stdout.split('\n').map((line) => {
    const [pid, ...words] = line.trim().split(/\s+/);
    return { pid: Number(pid), words };
  });
}

/** Kills a process, which may have ended meanwhile. */
export function signalKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export interface StartedProcess {
  /** Rejects when the process ends or never begins; resolves never. */
  readonly failed: Promise<never>;
  /** The manager stops listening; the process goes on. */
  release(): void;
}

/** Starts a program that is to outlive this process: a session of its own, no terminal, no shell. */
export function startDetached(program: string, args: readonly string[]): StartedProcess {
  // Standard error goes to a pipe rather than a file, which a guest could make grow; QEMU does not mind when it breaks.
  const child = spawn(program, args, { detached: true, stdio: ['ignore', 'ignore', 'pipe'], env: environment });
  let said = '';
  child.stderr.on('data', (bytes: Buffer) => (said = (said + bytes.toString('utf8')).slice(-STDERR_CHARACTERS)));
  const failed = new Promise<never>((_resolve, reject) => {
    child.on('error', (error) => reject(new HypervisorError('host', `${program} could not be started`, error)));
    child.on('exit', (code, signal) =>
      reject(
        new HypervisorError('host', `${program} has ended (${signal ?? code}): ${said.trim() || 'it said nothing'}`),
      ),
    );
  });
  // Told to whoever awaits it while the machine starts; later its end is seen at its socket.
  failed.catch(() => undefined);
  const release = (): void => {
    child.unref();
    (child.stderr as unknown as { unref(): void }).unref();
  };
  return { failed, release };
}

const TOOL_MS = 60_000;

/** Runs `qemu-img`; what it prints. A failure is `refused` when it could judge what it was given, else `host`. */
export async function qemuImg(args: readonly string[], judges: boolean): Promise<string> {
  try {
    const { stdout } = await run('qemu-img', args, { env: environment, timeout: TOOL_MS, maxBuffer: 1024 * 1024 });
    return stdout;
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    const said = (stderr ?? '').trim().slice(0, STDERR_CHARACTERS) || String(code);
    throw new HypervisorError(
      judges && typeof code === 'number' ? 'refused' : 'host',
      `qemu-img ${args[0]}: ${said}`,
      error,
    );
  }
}

/** Whether a program can be run, and the first line it says. */
export async function firstLine(program: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout } = await run(program, args, { env: environment, timeout: TOOL_MS });
    return stdout.split('\n')[0];
  } catch {
    return undefined;
  }
}
