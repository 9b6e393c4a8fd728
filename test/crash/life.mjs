import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { undoAtEnd } from './cleanup.mjs';
import { HISTORY_FD } from './history.mjs';

const child = fileURLToPath(new URL('child.mjs', import.meta.url));

/** One process under test, from its start to its end. Its records go to the history as they come. */
export class Life {
  waiting = [];
  seen = new Map();

  /** @param wrap turns the command line into another, such as one that runs under strace */
  constructor({ no, task, env = {}, wrap = (command) => command }, history, tell) {
    this.no = no;
    this.history = history;
    const [command, ...args] = wrap([process.execPath, child]);
    const stdio = ['pipe', 'ignore', 'pipe', 'pipe'];
    this.process = spawn(command, args, { stdio, env: { ...process.env, ...env, HISTORY_FD: String(HISTORY_FD) } });
    this.undo = undoAtEnd(() => this.process.kill('SIGKILL'));
    this.errors = '';
    this.process.stderr.setEncoding('utf8').on('data', (chunk) => (this.errors += chunk));
    // A pipe to a process that was killed breaks; that is the purpose.
    this.process.stdin.on('error', () => undefined);
    history.collect(this.process.stdio[HISTORY_FD], no, (entry) => this.took(entry, tell));
    this.closed = new Promise((resolve) => this.process.on('close', (code, signal) => resolve({ code, signal })));
    void this.closed.then(() => this.settleWaiting());
    this.send(JSON.stringify(task));
  }

  send(line) {
    this.process.stdin.write(`${line}\n`);
  }

  took(entry, tell) {
    tell(entry);
    if (!this.seen.has(entry.op)) this.seen.set(entry.op, entry);
    this.waiting = this.waiting.filter((one) => !one.offer(entry));
  }

  settleWaiting() {
    this.ended = true;
    for (const { giveUp } of this.waiting.splice(0)) giveUp();
  }

  /** The next record that fits, or null when none comes in time or the process ends first. */
  next(fits, withinMs) {
    if (this.ended) return Promise.resolve(null);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(null), withinMs);
      const settle = (entry) => {
        clearTimeout(timer);
        resolve(entry);
        return true;
      };
      this.waiting.push({ offer: (entry) => fits(entry) && settle(entry), giveUp: () => settle(null) });
    });
  }

  /** The first record of one of these kinds, also when it came already. */
  first(ops, withinMs) {
    for (const op of ops) if (this.seen.has(op)) return Promise.resolve(this.seen.get(op));
    return this.next(({ op }) => ops.includes(op), withinMs);
  }

  /** Kills the process and waits until nothing of it is left. */
  async kill() {
    this.process.kill('SIGKILL');
    const how = await this.closed;
    this.undo();
    return how;
  }

  /** Waits for the process to end by itself. */
  async end() {
    const how = await this.closed;
    this.undo();
    return how;
  }
}
