import { attributesOf, dataOf, hashOf, partOf } from './events.mjs';
import { record } from './history.mjs';

/** Publishes events given in short, and tells the history before and after. */
export class Publisher {
  calls = 0;
  /** Refused for want of room, to be repeated with the same ids. */
  refused = [];

  constructor(bus, definitions) {
    this.bus = bus;
    this.definitions = definitions;
  }

  /** @param call `{ events, batch, delayMs }`. Resolves with whether it went through; never rejects. */
  async publish(call) {
    const no = this.calls++;
    const made = call.events.map((brief) => this.definitions[brief.type](dataOf(brief), attributesOf(brief)));
    const events = call.events.map((brief, index) => ({
      ...brief,
      part: partOf(brief),
      hash: hashOf(made[index].data),
    }));
    const { batch = false, delayMs } = call;
    record({ op: 'invoke', call: no, events, batch, delayMs });
    try {
      const options = delayMs === undefined ? {} : { delayMs };
      const answer = batch ? await this.bus.publish(made, options) : [await this.bus.publish(made[0], options)];
      const results = answer.map(({ position, duplicate, scheduledMs }) => ({ position, duplicate, scheduledMs }));
      record({ op: 'ok', call: no, results });
      return true;
    } catch (error) {
      record({
        op: 'no',
        call: no,
        code: error.code ?? error.name,
        retryable: error.retryable,
        message: error.message,
      });
      if (error.code === 'CARILLON_STORAGE_FULL') this.refused.push(call);
      return false;
    }
  }

  /** Repeats what was refused. Whether all of it went through. */
  async repeatRefused() {
    const calls = this.refused.splice(0);
    const results = await Promise.all(calls.map((call) => this.publish(call)));
    return results.every(Boolean);
  }
}
