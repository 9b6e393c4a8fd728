import type { MachineState, Verb } from './events.ts';

/**
 * The states of a machine.
 *
 * - `absent`: there is none of this name. Its record is a tombstone, or missing.
 * - `stopped`: it has disks and no process.
 * - `running`, `paused`: it has a process, found under its socket by the id of this life (`run`).
 * - `crashed`: it has disks and no process, and nobody had asked for that. A `stopped` that wants to be looked at.
 *
 *              create              start                 pause
 *     absent ─────────▶ stopped ─────────▶ running ◀──────────────▶ paused
 *        ▲                 │ ▲                │  ▲       resume       │
 *        └──── delete ─────┘ └───── stop ─────┴──┼──────── stop ──────┘
 *        ▲                                       │ start
 *        └──── delete ────── crashed ────────────┘
 *                               ▲
 *                               └── the process dies, from running or paused
 *
 * `reset` leaves a running machine running. `configure` leaves every existing machine in its state, `snapshot` every one
 * but a crashed one, whose disk may be in the middle of something: start it first.
 *
 * A request that is not legal in the present state changes nothing and is answered by `vm.<verb>.failed`, code `illegal`.
 *
 * ## What moves a machine
 *
 * 1. Requests, one at a time for each machine, in the order in which they were published.
 * 2. What it does by itself: a guest that shuts itself down makes it `stopped`; a process that dies, a panic and an
 *    internal error make it `crashed`; a machine that pauses itself (a full disk) is `paused`. What a machine tells is
 *    only a reason to look: events come late, and after the next request. The state is what looking finds (`settled`).
 *
 * ## What a crash of the manager leaves, in every transition
 *
 * Before anything is done, the record says what is being done and for which request (`doing`); afterwards one write
 * of the record takes the new state, forgets `doing` and keeps the facts to be told (`last`). The facts are published in
 * one commit with the request's acknowledgement. Processes are detached, so they outlive the manager.
 *
 * | crash                              | what is left                                   | what the next manager does |
 * |------------------------------------|------------------------------------------------|----------------------------|
 * | before `doing` is written          | nothing was done                               | the request comes again, as if for the first time |
 * | create: disks half made            | state absent, doing create                     | the request comes again and makes the disks anew |
 * | start: no process yet              | state stopped or crashed, doing start, the run | looks for the run, finds none, spawns it under the same run |
 * | start: the process is there        | the same                                       | looks for the run, finds it, adopts it: never a second one |
 * | stop: the guest is shutting down   | state running or paused, doing stop            | presses again with a deadline of its own; gone already is done |
 * | pause, resume                      | doing pause or resume                          | repeats: both may be done twice |
 * | reset                              | doing reset                                    | repeats: a guest may see two resets |
 * | configure: hot changes half made   | doing configure                                | asks what is plugged in and adds what is missing |
 * | snapshot                           | doing snapshot                                 | looks whether it is there before it takes it |
 * | delete: disks half removed         | doing delete                                   | removes the rest |
 * | after the record, before the commit| new state, `last` names the request            | publishes the same facts; nothing is done twice |
 *
 * What a machine told may come again after a crash, when its acknowledgement was not on the disk yet, and then before the
 * request that was being done: it is left alone (`doing` knows its place in the log).
 *
 * A guest that shuts itself down while no manager listens cannot be told from a process that died: it is `crashed`.
 *
 * Should every attempt at a request take the manager with it, the request becomes a dead letter; the next event of the
 * machine finds `doing` of another request, settles it by what is real, and tells `vm.<verb>.failed`, `interrupted`.
 */
const legal: Readonly<Record<Verb, readonly MachineState[]>> = {
  create: ['absent'],
  start: ['stopped', 'crashed'],
  stop: ['running', 'paused'],
  pause: ['running'],
  resume: ['paused'],
  reset: ['running'],
  configure: ['stopped', 'running', 'paused', 'crashed'],
  snapshot: ['stopped', 'running', 'paused'],
  delete: ['stopped', 'crashed'],
};

/** Whether a request is legal in a state. */
export function isLegal(verb: Verb, state: MachineState): boolean {
  return legal[verb].includes(state);
}

/** The state a legal request leads to. */
export function stateAfter(verb: Verb, state: MachineState): MachineState {
  switch (verb) {
    case 'create':
    case 'stop':
      return 'stopped';
    case 'start':
    case 'resume':
    case 'reset':
      return 'running';
    case 'pause':
      return 'paused';
    case 'delete':
      return 'absent';
    case 'configure':
    case 'snapshot':
      return state;
  }
}

/**
 * What a hypervisor finds when it looks for a machine's process. `broken`: there is a process, and it will never run
 * again (the guest panicked, or the processor gave up).
 */
export type Power = 'gone' | 'running' | 'paused' | 'broken';

/** The state of a machine that was found so. @param shutDown whether its guest had shut it down */
export function settled(state: MachineState, power: Power, shutDown: boolean): MachineState {
  if (state !== 'running' && state !== 'paused') return state;
  if (power === 'running' || power === 'paused') return power;
  return power === 'gone' && shutDown ? 'stopped' : 'crashed';
}
