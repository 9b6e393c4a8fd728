import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { types } from './plan.mjs';
import { between, randomFrom } from './random.mjs';

export const PRODUCERS = 4;
const KEYS = 16;
/** One key with so many events that there are always some behind one that fails. */
const HOT_KEY = 'k0';
const HOT_SHARE = 0.3;
const REMEMBERED = 64;

/** One of several that publish at once, each in bursts: its own events, batches, scheduled ones, and some a second time. */
export class Producer {
  sent = [];
  count = 0;

  constructor(no, { publisher, life, seed, scale, pace = 1 }) {
    this.no = no;
    this.publisher = publisher;
    this.life = life;
    this.scale = scale;
    this.pace = pace;
    this.random = randomFrom(seed * 31 + life * 101 + no);
    this.running = true;
  }

  async run() {
    while (this.running) {
      const burst = between(this.random, 1, 12);
      await Promise.all(Array.from({ length: burst }, () => this.publishSomething()));
      await sleep(this.pace * between(this.random, 4, 24));
    }
  }

  publishSomething() {
    const chance = this.random();
    if (chance < 0.04 && this.sent.length > 0) return this.publisher.publish(this.pick());
    return this.publishNew(this.newCall(chance));
  }

  newCall(chance) {
    if (chance < 0.12) return { events: [this.brief(), this.brief(), this.brief()], batch: true };
    if (chance < 0.2) return { events: [this.brief(types.later)], delayMs: between(this.random, 0, 300) };
    if (chance < 0.34 && this.publisher.application) return this.newCallWithin(chance);
    return { events: [this.brief()] };
  }

  /** Within the application's own transaction, which is rolled back now and then. */
  newCallWithin(chance) {
    const call = { within: true, rollsBack: this.random() < 0.25 };
    if (chance < 0.22) return { ...call, events: [this.brief(types.later)], delayMs: between(this.random, 0, 300) };
    if (chance < 0.27) return { ...call, events: [this.brief(), this.brief()], batch: true };
    return { ...call, events: [this.brief()] };
  }

  async publishNew(call) {
    const published = await this.publisher.publish(call);
    if (!published) return;
    this.sent.push(call);
    if (this.sent.length > REMEMBERED) this.sent.shift();
  }

  pick() {
    return this.sent[Math.floor(this.random() * this.sent.length)];
  }

  brief(type = types.work) {
    const key = this.random() < HOT_SHARE ? HOT_KEY : `k${between(this.random, 0, KEYS - 1)}`;
    const lot = between(this.random, 0, 2 ** 30);
    return { id: this.id(), type, key, lot, life: this.life, scale: this.scale, producer: this.no };
  }

  /** Half of the producers name their events by themselves, which takes another path through the deduplication. */
  id() {
    const no = `${this.life}-${this.no}-${this.count++}`;
    return this.no % 2 === 0 ? no : timeOrderedId();
  }
}

/** A UUIDv7 (RFC 9562). */
function timeOrderedId() {
  const ms = Date.now().toString(16).padStart(12, '0');
  return `${ms.slice(0, 8)}-${ms.slice(8)}-7${randomUUID().slice(15)}`;
}
