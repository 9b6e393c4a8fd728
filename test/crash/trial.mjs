import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check } from './checker.mjs';
import { History } from './history.mjs';
import { Life } from './life.mjs';
import { plans } from './plan.mjs';

const READY_WITHIN_MS = 20_000;
/** Longer than all that a life which verifies waits for by itself. */
const VERIFIED_WITHIN_MS = 300_000;

/** Records that say that something is durable, or certainly is not. */
const claims = new Set(['ok', 'no', 'settling', 'barrier', 'stopped', 'engine-failed', 'ended']);

/** The harness itself went wrong, or the process under test ended in a way that no fault explains. */
export class TrialError extends Error {}

/** One data directory with its history: lives that end by faults, then one that verifies. */
export class Trial {
  history = new History();
  lives = 0;
  /** Publishes without a known outcome, or refused: the next life repeats them. By the id of their first event. */
  pending = new Map();
  /** Scheduled events acknowledged and not seen yet. */
  scheduled = new Set();
  /** Calls without an answer, by life and number. */
  calls = new Map();

  /** @param settings `{ directory, dist, engine, seed, sync, reserveBytes, scale, pace, env, wrap }` */
  constructor(settings) {
    this.settings = { scale: 1, pace: 1, ...settings };
  }

  /** Starts a life without waiting for it. @param extra what its task and process have beside the trial's settings */
  spawn(extra = {}) {
    const { env, wrap, ...settings } = { ...this.settings, ...extra };
    const no = this.lives++;
    const again = this.unanswered();
    const task = { role: 'work', life: no, ...settings, again, scheduled: [...this.scheduled] };
    return new Life({ no, task, env, wrap }, this.history, (entry) => this.follow(entry));
  }

  /** What a new life publishes again. */
  unanswered() {
    return [...this.pending.values()];
  }

  /** Starts a life and waits until it delivers and publishes. */
  async start(extra = {}) {
    const life = this.spawn(extra);
    const first = await life.first(['ready', 'ended'], READY_WITHIN_MS);
    if (first?.op === 'ready') return life;
    const how = await life.kill();
    const why = first?.message ?? `${JSON.stringify(how)} ${life.errors}`;
    throw new TrialError(`life ${life.no} did not become ready: ${why}`);
  }

  follow(entry) {
    const call = `${entry.life}/${entry.call}`;
    if (entry.op === 'invoke') {
      const { events, batch, delayMs, within, rollsBack, life } = entry;
      // What is rolled back is not to be there, and nobody wants it again.
      if (rollsBack) return;
      const brief = events.map(({ part: _part, hash: _hash, ...rest }) => rest);
      this.calls.set(call, entry);
      this.pending.set(events[0].id, { events: brief, batch, delayMs, within, life });
    } else if (entry.op === 'ok') {
      const { events } = this.calls.get(call);
      this.calls.delete(call);
      this.pending.delete(events[0].id);
      if (entry.results[0].scheduledMs !== null) this.scheduled.add(events[0].id);
    } else if (entry.op === 'begin') this.scheduled.delete(entry.id);
  }

  /** Marks the moment from which on nothing that a life did is sure to last. */
  strike(life) {
    this.history.note(life.no, { op: 'strike' });
  }

  /**
   * Forgets what a process said after its power was cut: it had none. The kernel lets a flush that was under way then
   * succeed although its data is gone, and the process lived long enough to believe it. What it did while the cut was
   * made may last or not: that it happened is kept, as unsure; that it was durable is not.
   */
  forget({ no }, [fromUs, untilUs]) {
    this.history.records = this.history.records.filter(({ life, t, op }) => {
      if (life !== no || t < fromUs) return true;
      return t < untilUs && !claims.has(op);
    });
    for (const entry of this.history.records) if (entry.life === no && entry.t >= fromUs) entry.unsure = true;
  }

  /** Notes a promise that was not kept. */
  broken(life, what) {
    this.history.note(life.no, { op: 'broken', what });
  }

  /** The fault is over: lets everything come to its end, and then once more, when nothing may be left to do. */
  async verify() {
    const faultless = { role: 'verify', env: {}, wrap: undefined, gated: false };
    for (let times = 0; times < 2; times++) {
      const life = await this.start(faultless);
      await life.next(() => false, VERIFIED_WITHIN_MS);
      if (!life.ended) throw new TrialError(`life ${life.no}, which verifies, does not come to its end`);
      const { code } = await life.end();
      if (code === 0 && life.seen.has('stopped')) continue;
      const why = life.seen.get('ended')?.message ?? `code ${code}: ${life.errors}`;
      throw new TrialError(`life ${life.no}, which verifies, did not stop cleanly: ${why}`);
    }
    const { records } = this.history;
    return { ...check(records, plans), records };
  }

  /** Leaves the history in a directory, for whoever looks for a cause. */
  write(directory) {
    const lines = this.history.records.map((one) => `${JSON.stringify(one)}\n`);
    writeFileSync(join(directory, 'history.jsonl'), lines.join(''));
  }
}
