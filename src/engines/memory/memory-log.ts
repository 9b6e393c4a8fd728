import type { DeliveryRow, EventRow, ScheduledRow } from '../../engine/log/index.ts';

/** What a memory engine keeps. It can outlive the engine, so that tests can stop one and start another on it. */
export interface MemoryLog {
  events: EventRow[];
  last: number;
  /** Positions by source, then by id: both texts are there already, so that none is made for each event. */
  ids: Map<string, Map<string, number>>;
  /** Last position by subject. */
  revisions: Map<string, number>;
  subscriptions: Map<string, { readonly no: number; readonly start: number }>;
  states: Map<number, Uint8Array>;
  /** By `subscription:position`. */
  deliveries: Map<string, DeliveryRow>;
  scheduled: Map<number, ScheduledRow>;
  lastScheduled: number;
  inUse: boolean;
}

/** An empty log. */
export function memoryLog(): MemoryLog {
  return {
    events: [],
    last: 0,
    ids: new Map(),
    revisions: new Map(),
    subscriptions: new Map(),
    states: new Map(),
    deliveries: new Map(),
    scheduled: new Map(),
    lastScheduled: 0,
    inUse: false,
  };
}

/** What a process that is killed now leaves: whatever goes on writing to the original is not in it. @internal */
export function leftOf(log: MemoryLog): MemoryLog {
  return {
    ...log,
    events: [...log.events],
    ids: new Map([...log.ids].map(([source, ids]) => [source, new Map(ids)])),
    revisions: new Map(log.revisions),
    subscriptions: new Map(log.subscriptions),
    states: new Map(log.states),
    deliveries: new Map(log.deliveries),
    scheduled: new Map(log.scheduled),
    inUse: false,
  };
}
