import {
  carillonError,
  compileFilter,
  createPatternIndex,
  isCarillonError,
  toError,
  type Clock,
  type Event,
  type Limits,
  type Logger,
  type PatternIndex,
  type SyncContext,
  type SyncDeclaration,
  type Timer,
} from '../core/index.ts';
import { patternsOf } from './targets.ts';

/**
 * Sync handlers (G8): run inside `publish`, in the order of declaration, before the event is durable; or by `emit`
 * alone. Emitting is the in-process hot path: the handlers of a type are found by one look-up, and nothing is made per
 * event.
 */
interface SyncEntry {
  readonly name: string;
  readonly handler: (event: Event, context: SyncContext) => unknown;
  readonly passes: ((event: Event) => boolean) | null;
  readonly emitContext: SyncContext;
}

/** What came of running the sync handlers of a publish. */
export interface Admission {
  /** Events they published, in order: they join the batch. */
  readonly joined: readonly Event[];
  /** What the first handler with something to say returned. */
  readonly answer: unknown;
}

export const nothingJoined: Admission = { joined: [], answer: undefined };

/** Events that sync handlers of one publish may add, their own sync handlers' included: a circle ends here. */
const JOINED_MAX = 1000;
/** Types whose handlers `emit` remembers. */
const TYPES_MAX = 10_000;

export class SyncHandlers {
  readonly index: PatternIndex<SyncEntry> = createPatternIndex();
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Logger;
  /** What {@link look} found, for `emit` alone. */
  readonly byType: Map<string, readonly SyncEntry[]> = new Map();
  lastType: string | null = null;
  lastEntries: readonly SyncEntry[] = [];

  constructor(clock: Clock, limits: Limits, log: Logger) {
    this.clock = clock;
    this.limits = limits;
    this.log = log;
  }

  add(name: string, declaration: SyncDeclaration): void {
    const { filter } = declaration.options;
    const log = this.log.child({ handler: name });
    const entry: SyncEntry = {
      name,
      handler: declaration.handler as SyncEntry['handler'],
      passes: filter === undefined ? null : compileFilter(filter),
      emitContext: { handler: name, mode: 'emit', log, publish: refuseToPublish },
    };
    const patterns = patternsOf(declaration.target);
    for (const pattern of patterns) this.index.add(pattern, entry);
    this.byType.clear();
    this.lastType = null;
  }

  hasForAny(events: readonly Event[]): boolean {
    return events.some((event) => this.hasFor(event.type));
  }

  hasFor(type: string): boolean {
    return this.index.match(type).length > 0;
  }

  emit(event: Event): void | Promise<void> {
    const { type } = event;
    // Emitting often repeats a type: comparing it to the last one is cheaper than any look-up.
    const entries = type === this.lastType ? this.lastEntries : (this.byType.get(type) ?? this.look(type));
    const { length } = entries;
    for (let at = 0; at < length; at++) {
      const entry = entries[at] as SyncEntry;
      if (entry.passes !== null && !entry.passes(event)) continue;
      const result = entry.handler(event, entry.emitContext);
      if (result !== undefined && isThenable(result)) return this.emitRest(event, entries, at + 1, result);
    }
  }

  look(type: string): readonly SyncEntry[] {
    const entries = this.index.match(type);
    if (this.byType.size === TYPES_MAX) this.byType.clear();
    this.byType.set(type, entries);
    this.lastType = type;
    this.lastEntries = entries;
    return entries;
  }

  /** One of the handlers was asynchronous: the others wait for it, so that the order of declaration holds. */
  async emitRest(
    event: Event,
    entries: readonly SyncEntry[],
    from: number,
    first: PromiseLike<unknown>,
  ): Promise<void> {
    await first;
    for (const entry of entries.slice(from)) {
      if (entry.passes === null || entry.passes(event)) await entry.handler(event, entry.emitContext);
    }
  }

  /**
   * Runs the handlers of the events and of what these add, until none is left. Throws `CARILLON_REFUSED` with the
   * handler's error as cause, or `CARILLON_SYNC_TIMEOUT`.
   * @param checked makes an event ready to be appended; may throw
   */
  async admit(events: readonly Event[], checked: (event: Event, cause: Event) => Event): Promise<Admission> {
    if (!this.hasForAny(events)) return nothingJoined;
    const budget = new Budget(this.clock, this.limits.syncBudgetMs);
    const joined: Event[] = [];
    let answer: unknown;
    const publishFrom = (cause: Event) => (event: Event) => {
      if (joined.length === JOINED_MAX) {
        throw carillonError(
          'CARILLON_BATCH_TOO_LARGE',
          `sync handlers added more than ${JOINED_MAX} events to one publish`,
        );
      }
      joined.push(checked(event, cause));
    };
    try {
      for (const event of withThoseAdded(events, joined)) {
        for (const entry of this.index.match(event.type)) {
          if (entry.passes !== null && !entry.passes(event)) continue;
          const result = await this.run(entry, event, publishFrom(event), budget);
          answer ??= result;
        }
      }
    } finally {
      budget.end();
    }
    return { joined, answer };
  }

  async run(entry: SyncEntry, event: Event, publish: (event: Event) => void, budget: Budget): Promise<unknown> {
    let open = true;
    const context: SyncContext = {
      handler: entry.name,
      mode: 'publish',
      log: entry.emitContext.log,
      publish: (added) => {
        if (!open) throw carillonError('CARILLON_LEASE_LOST', `the sync handler ${entry.name} is over`);
        publish(added);
      },
    };
    try {
      const result = entry.handler(event, context);
      return isThenable(result) ? await budget.bound(result, entry.name) : result;
    } catch (thrown) {
      if (isCarillonError(thrown, 'CARILLON_SYNC_TIMEOUT')) throw thrown;
      const cause = toError(thrown);
      throw carillonError(
        'CARILLON_REFUSED',
        `${entry.name} refused ${event.type}: ${cause.message}`,
        { handler: entry.name, type: event.type },
        thrown,
      );
    } finally {
      open = false;
    }
  }
}

/** The events, then those that were added while the earlier ones were looked at. */
function* withThoseAdded(events: readonly Event[], added: readonly Event[]): Iterable<Event> {
  yield* events;
  for (let at = 0; at < added.length; at++) yield added[at] as Event;
}

/** The time that all sync handlers of one publish share. Its timer is set only once one of them is asynchronous. */
class Budget {
  readonly clock: Clock;
  readonly endsAt: number;
  readonly budgetMs: number;
  timer: Timer | null = null;

  constructor(clock: Clock, budgetMs: number) {
    this.clock = clock;
    this.budgetMs = budgetMs;
    this.endsAt = clock.monotonic() + budgetMs;
  }

  async bound(result: PromiseLike<unknown>, handler: string): Promise<unknown> {
    const timedOut = new Promise<never>((_, reject) => {
      const left = Math.max(0, this.endsAt - this.clock.monotonic());
      this.timer = this.clock.setTimer(left, () =>
        reject(
          carillonError(
            'CARILLON_SYNC_TIMEOUT',
            `the sync handlers took longer than ${this.budgetMs} ms, in ${handler}`,
            {
              handler,
              limit: 'syncBudgetMs',
            },
          ),
        ),
      );
    });
    try {
      return await Promise.race([result, timedOut]);
    } finally {
      this.end();
    }
  }

  end(): void {
    this.timer?.cancel();
    this.timer = null;
  }
}

function refuseToPublish(): never {
  throw carillonError('CARILLON_EMIT_PUBLISH', 'a handler published while its event was only emitted');
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
