import {
  type Bus,
  type Clock,
  defineModule,
  type Event,
  exponential,
  type HandlerContext,
  isCarillonError,
  type Logger,
  type Module,
  systemClock,
} from 'carillon';
import {
  factEvents,
  GuestShutdown,
  type Outcome,
  requestEvents,
  STOP_DEADLINE_MAX_MS,
  toldEvents,
  VmReconcileRequested,
  VmRequestDied,
} from './events.ts';
import { hostRest } from './host-rest.ts';
import type { Hypervisor, Told } from './hypervisor.ts';
import { settled } from './machine-states.ts';
import { givenUp, type Manager, MachineTurn, remade, verbOf } from './machine-turn.ts';
import type { MachineRecord, Records } from './records.ts';

export interface MachinesOptions {
  readonly hypervisor: Hypervisor;
  readonly records: Records;
  /** Machines worked on at once. Default 16. */
  readonly concurrency?: number;
  /** How often the reconciler looks at every machine, in ms, beside its start. Default 30,000. */
  readonly reconcileMs?: number;
  readonly clock?: Clock;
}

const RECONCILE_MS = 30_000;
const LOOKS_AT_ONCE = 16;
const DEAD_LETTERS_PAGE = 1000;
/** What tells that a machine shuts down of its guest's own will. */
const GUEST_SHUTDOWN = 'guest-shutdown';

/** The durable name of the handler below. */
export const TURNS = 'machines.turns';

/** What a turn is about: a request, something a machine told, or a reason to look. */
const turnEvents = [...requestEvents, ...Object.values(toldEvents), VmReconcileRequested, VmRequestDied] as const;

/**
 * Machines, brought from state to state by events. One handler takes everything about a machine: order by key holds within
 * a handler, and a machine's requests and what it tells must not overtake each other.
 *
 * The reconciler looks at every machine when the module starts, and now and then: machines that have a process are
 * found by their sockets and listened to from then on; where what is real differs from the record, an event asks for a turn.
 */
export function machines({
  hypervisor,
  records,
  concurrency = 16,
  reconcileMs = RECONCILE_MS,
  clock = systemClock,
}: MachinesOptions): Module {
  const manager: Manager = { hypervisor, records, clock, rest: hostRest(clock), shuttingDown: new Set() };
  let sweeping: ReturnType<Clock['setTimer']> | undefined;
  let unobserve: (() => void) | undefined;
  let stopped = false;

  const again = (bus: Bus, log: Logger): void => {
    sweeping = clock.setTimer(reconcileMs, () => {
      void reconcile(manager, bus, log).finally(() => {
        if (!stopped) again(bus, log);
      });
    });
  };

  return defineModule('machines', (m) => {
    m.events(...factEvents);
    m.onStart(async ({ bus, log }) => {
      hypervisor.listen((told) => void hear(manager, bus, log, told));
      unobserve = bus.observe((observation) => {
        if (observation.kind !== 'delivery-end' || observation.outcome !== 'dead') return;
        if (observation.subscription !== TURNS) return;
        const { stored, error } = observation;
        void publishOrLog(bus, log, died(stored.event, stored.position, error?.message));
      });
      await tellDeadRequests(bus);
      await reconcile(manager, bus, log);
      again(bus, log);
    });
    m.onStop(async () => {
      stopped = true;
      sweeping?.cancel();
      unobserve?.();
      await hypervisor.close();
    });
    m.onHealth(() => {
      const restMs = manager.rest.remainingMs();
      return restMs > 0 ? { healthy: false, detail: `the host is left alone for ${restMs} ms` } : { healthy: true };
    });
    m.handle(turnEvents, (event, context) => turn(manager, event, context), {
      name: 'turns',
      from: 'beginning',
      order: 'key',
      concurrency,
      // Longer than the longest stop.
      timeoutMs: STOP_DEADLINE_MAX_MS + 30_000,
      retry: exponential({ attemptsMax: 5, initialMs: 250, maxMs: 5_000 }),
    });
  });
}

async function turn(
  manager: Manager,
  event: Event<{ readonly vm: string }>,
  context: HandlerContext,
): Promise<Outcome | undefined> {
  const { last, doing } = manager.records.get(event.data.vm);
  const { id } = event;
  // Done already, and not acknowledged: the facts were not published either.
  if (last && (last.event === id || (VmRequestDied.is(event) && last.event === event.data.request))) {
    for (const fact of remade(last.facts)) context.publish(fact);
    return (last.outcome as Outcome | null) ?? undefined;
  }
  // It came before what is being done, and again after a crash: its acknowledgement was not on the disk yet.
  if (doing !== null && context.position < doing.position) {
    if (verbOf(event) === undefined) return undefined;
    throw new Error(`${event.data.vm} is in the middle of a later request`);
  }
  if (GuestShutdown.is(event)) {
    // Its end is told next; what it means is known from now on.
    if (event.data.detail === GUEST_SHUTDOWN && isCurrent(manager, event.data))
      manager.shuttingDown.add(event.data.run);
    return undefined;
  }
  const one = new MachineTurn(manager, event, context);
  await one.settle();
  const verb = verbOf(event);
  if (verb !== undefined) return one.end(await one.act(verb));
  if (VmRequestDied.is(event)) {
    const { verb: of, request, message } = event.data;
    if (!one.facts.some(({ id: told }) => told === givenUp(request))) one.fail(of, request, { code: 'host', message });
  }
  return one.end(null);
}

const isCurrent = ({ records }: Manager, { vm, run }: { vm: string; run: string }): boolean =>
  records.get(vm).run === run;

/** What a machine told becomes an event. */
function hear(
  { records, shuttingDown }: Manager,
  bus: Bus,
  log: Logger,
  { vm, run, kind, detail }: Told,
): Promise<void> {
  // Known at once: a turn that is waiting already may come before the event does.
  if (kind === 'shutdown' && detail === GUEST_SHUTDOWN && records.get(vm).run === run) shuttingDown.add(run);
  return publishOrLog(bus, log, toldEvents[kind]({ vm, run, ...(detail === undefined ? {} : { detail }) }));
}

/** Publishes what nobody waits for. What is lost here, the reconciler finds. */
async function publishOrLog(bus: Bus, log: Logger, event: Event | undefined): Promise<void> {
  if (!event) return;
  try {
    await bus.publish(event);
  } catch (error) {
    const level = isCarillonError(error, 'CARILLON_STOPPED') ? 'debug' : 'warn';
    log[level](`${event.type} was not published`, { subject: event.subject, error: String(error) });
  }
}

/** A request that is a dead letter; the id makes it one event however often it is noticed. */
function died(event: Event, position: number, message = 'every attempt failed'): Event | undefined {
  const verb = verbOf(event);
  if (verb === undefined) return undefined;
  const { vm } = event.data as { vm: string };
  return VmRequestDied({ vm, request: event.id, verb, message }, { id: `died.${position}` });
}

async function tellDeadRequests(bus: Bus): Promise<void> {
  for (let after = 0; ; ) {
    const letters = await bus.deadLetters.list({ subscription: TURNS, after, limit: DEAD_LETTERS_PAGE });
    for (const { event, position, attempts } of letters) {
      const told = died(event, position, attempts.at(-1)?.error.message);
      if (told) await bus.publish(told);
      after = position;
    }
    if (letters.length < DEAD_LETTERS_PAGE) return;
  }
}

/** Looks at every machine that may have a process, and asks for a turn where record and reality differ. */
async function reconcile(manager: Manager, bus: Bus, log: Logger): Promise<void> {
  const waiting = manager.records
    .all()
    .filter(({ run, doing }) => run !== null || doing !== null)
    .values();
  const worker = async (): Promise<void> => {
    for (const record of waiting)
      if (await differs(manager, record)) await publishOrLog(bus, log, VmReconcileRequested({ vm: record.vm }));
  };
  await Promise.all(Array.from({ length: LOOKS_AT_ONCE }, worker));
}

async function differs(
  { hypervisor, shuttingDown }: Manager,
  { vm, run, state, doing }: MachineRecord,
): Promise<boolean> {
  // A request is under way; if it is a dead letter, the turn tells.
  if (doing !== null || run === null) return doing !== null;
  try {
    return settled(state, await hypervisor.look(vm, run), shuttingDown.has(run)) !== state;
  } catch {
    // Not to be looked at: a turn tries again, and its dead letter tells.
    return true;
  }
}
