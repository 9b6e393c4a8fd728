import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Trial, TrialError } from './trial.mjs';

const RESUMES_WITHIN_MS = 20_000;
/** Handlers have 30 s to end. */
const STOPS_WITHIN_MS = 45_000;
const STOPPED_POLL_MS = 1;

/** A trial of several processes at once that share one log. */
export class SharedTrial extends Trial {
  /** Lives under way. */
  living = new Set();

  constructor(settings) {
    super(settings);
    this.history.note(-1, { op: 'shared' });
  }

  spawn(extra) {
    const life = super.spawn(extra);
    this.living.add(life);
    return life;
  }

  /** What a life that goes on repeats by itself is not repeated by another. */
  unanswered() {
    const living = new Set([...this.living].map(({ no }) => no));
    return [...this.pending.values()].filter(({ life }) => !living.has(life));
  }

  async startAll(count, extra) {
    for (let no = 0; no < count; no++) await this.start(extra);
  }

  any(random) {
    this.assertAlive();
    const lives = [...this.living];
    return lives[Math.floor(random() * lives.length)];
  }

  async kill(life) {
    this.strike(life);
    this.living.delete(life);
    return life.kill();
  }

  /** Takes leave, as a process does that is deployed anew. */
  async leave(life) {
    life.send('stop');
    const stopped = await life.first(['stopped', 'ended'], STOPS_WITHIN_MS);
    this.living.delete(life);
    if (stopped?.op === 'stopped') return life.end();
    this.broken(life, `stops within ${STOPS_WITHIN_MS} ms: ${stopped?.message ?? 'it did not'} ${life.errors}`);
    this.strike(life);
    return life.kill();
  }

  /** Stops the process where it stands: to the others it hangs. */
  async pause(life) {
    life.process.kill('SIGSTOP');
    while (!/^State:\tT/m.test(readFileSync(`/proc/${life.process.pid}/status`, 'utf8'))) await sleep(STOPPED_POLL_MS);
    this.history.note(life.no, { op: 'paused' });
  }

  resume(life) {
    this.history.note(life.no, { op: 'continued' });
    life.process.kill('SIGCONT');
  }

  /** From here on nothing of these lives is sure to be durable soon. */
  disturbed() {
    for (const life of this.living) this.history.note(life.no, { op: 'disturbed' });
  }

  /** Every life publishes and is answered, and one of them handles. */
  async resumed() {
    const lives = [...this.living];
    const waits = lives.map(async (life) => {
      const entry = await life.next(({ op }) => op === 'ok', RESUMES_WITHIN_MS);
      if (entry === null) this.broken(life, `publishes again within ${RESUMES_WITHIN_MS} ms ${life.errors}`);
    });
    const handles = Promise.any(
      lives.map(async (life) => (await life.next(({ op }) => op === 'begin', RESUMES_WITHIN_MS)) ?? Promise.reject()),
    ).catch(() => this.broken(lives[0], `some process handles again within ${RESUMES_WITHIN_MS} ms`));
    await Promise.all([...waits, handles]);
    this.assertAlive();
  }

  /** A process that ended although nobody killed it, or whose engine failed. */
  assertAlive() {
    for (const life of this.living) {
      const failed = life.seen.get('engine-failed');
      if (failed) throw new TrialError(`the engine of life ${life.no} failed: ${failed.code} ${failed.message}`);
      if (life.ended)
        throw new TrialError(`life ${life.no} ended by itself: ${life.seen.get('ended')?.message} ${life.errors}`);
    }
  }

  async killAll() {
    await Promise.all([...this.living].map((life) => this.kill(life)));
  }

  async verify() {
    // Records of several pipes come in any order; the clock is one.
    this.history.records.sort((a, b) => a.t - b.t);
    return super.verify();
  }
}
