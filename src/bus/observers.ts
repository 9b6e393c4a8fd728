import { toError, type Logger, type Observation } from '../core/index.ts';

/** Those who watch the bus. A throwing one is logged and disturbs nobody. */
export class Observers {
  readonly log: Logger;
  readonly all: Set<(observation: Observation) => void> = new Set();
  /** Null while nobody watches, so that watching costs nothing then. */
  tell: ((observation: Observation) => void) | null = null;

  constructor(log: Logger) {
    this.log = log;
  }

  add(observer: (observation: Observation) => void): () => void {
    this.all.add(observer);
    this.tell = (observation) => this.tellAll(observation);
    return () => {
      this.all.delete(observer);
      if (this.all.size === 0) this.tell = null;
    };
  }

  tellAll(observation: Observation): void {
    for (const observer of this.all) {
      try {
        observer(observation);
      } catch (error) {
        this.log.error('an observer threw', { error: toError(error).message });
      }
    }
  }
}
