import { attributesOf, dataOf, hashOf, partOf } from './events.mjs';
import { record } from './history.mjs';

/** To be published again with the same ids: refused for want of room, or with an outcome that is not known. */
const isPassing = ({ code }, { within, rollsBack }) =>
  !rollsBack && (within || code === 'CARILLON_STORAGE_FULL' || code === 'CARILLON_DATABASE_UNREACHABLE');

/** Publishes events given in short, and tells the history before and after. */
export class Publisher {
  calls = 0;
  /** Calls to be repeated with the same ids. */
  refused = [];

  /** @param application publishes in its own transactions; undefined where the engine knows none */
  constructor(bus, definitions, application) {
    this.bus = bus;
    this.application = application;
    this.definitions = definitions;
  }

  /** @param call `{ events, batch, delayMs, within, rollsBack }`; `within` the application's own transaction. Resolves with whether it went through; never rejects. */
  async publish(call) {
    const no = this.calls++;
    const made = call.events.map((brief) => this.definitions[brief.type](dataOf(brief), attributesOf(brief)));
    const events = call.events.map((brief, index) => ({
      ...brief,
      part: partOf(brief),
      hash: hashOf(made[index].data),
    }));
    const { batch = false, delayMs, within, rollsBack } = call;
    record({ op: 'invoke', call: no, events, batch, delayMs, within, rollsBack });
    try {
      const options = delayMs === undefined ? {} : { delayMs };
      const publish = async (more) =>
        batch ? await this.bus.publish(made, more) : [await this.bus.publish(made[0], more)];
      let answer;
      if (within) await this.application.within(call, async (tx) => (answer = await publish({ ...options, tx })));
      else answer = await publish(options);
      if (rollsBack) {
        record({ op: 'rolled-back', call: no });
        return false;
      }
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
      if (isPassing(error, call)) this.refused.push(call);
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
