import type {
  Clock,
  Event,
  Handler,
  BatchHandler,
  Limits,
  Logger,
  Observation,
  ResolvedStrategy,
  StartFrom,
  Strategy,
} from '../core/index.ts';
import type { AppendUnit, Engine, Outcome } from '../engine/index.ts';

/** A handler and all that decides how it is driven: what the dispatcher is asked to run. */
export interface HandlerSpec {
  /** The durable name, `module.handler`. */
  readonly name: string;
  /** What it asks for, as people wrote it. */
  readonly target: string;
  readonly description: string | undefined;
  readonly kind: 'async' | 'batch';
  readonly handler: Handler<never> | BatchHandler<never>;
  readonly strategy: ResolvedStrategy;
  /** The strategy as it was given. */
  readonly given: Strategy;
  readonly from: StartFrom;
  readonly transaction: boolean;
  readonly wantsType: (type: string) => boolean;
  readonly passes: ((event: Event) => boolean) | null;
  /** Types of which its answer is the answer to a request: those that it names, not those of patterns. */
  readonly responds: readonly string[];
}

/** What the dispatcher needs of the bus around it. */
export interface DispatchHost {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Logger;
  /** Which process this is, for attempt records. */
  readonly worker: string;
  /** From 0 up to 1, for jitter. */
  random(): number;
  /** An event that follows from `cause`, checked now. @throws as `publish` would */
  followUp(event: Event, cause: Event): Event;
  /** Runs the sync handlers of events published by a handler; what they add joins them. @throws `CARILLON_REFUSED` */
  admit(events: readonly Event[]): AppendUnit | Promise<AppendUnit>;
  /** Null while nobody observes, so that observing costs nothing then. */
  readonly tell: ((observation: Observation) => void) | null;
  /** A handler has handled this event, or will never handle it. Null while nobody waits for an answer. */
  readonly answered: ((event: Event, subscription: string, outcome: Outcome) => void) | null;
}
