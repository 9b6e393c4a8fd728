import { defineEvent, type AnyEventDefinition } from 'carillon';
import { z } from 'zod';
import { configChange, imagePath, machineConfig, machineName, snapshotName } from './config.ts';

/**
 * All that is said about machines. Each event's subject is its machine, which is what order is kept by.
 *
 * Three kinds: requests (`vm.<verb>.requested`), what came of them (`vm.created`, ..., or `vm.<verb>.failed`: exactly one
 * of the two for each request), and what a machine tells by itself (`vm.guest.*`, `vm.process.ended`).
 */

export const verbs = [
  'create',
  'start',
  'stop',
  'pause',
  'resume',
  'reset',
  'configure',
  'snapshot',
  'delete',
] as const;
export type Verb = (typeof verbs)[number];

export const states = ['absent', 'stopped', 'running', 'paused', 'crashed'] as const;
/** As machine-states.ts defines them. */
export type MachineState = (typeof states)[number];

const ofMachine = { subject: ({ vm }: { vm: string }) => vm, source: '/vm-manager' };
const configField = z.enum(['memoryMiB', 'cpus', 'disks', 'network', 'onCrash']);

/**
 * Why a request failed. `illegal`: not in this state. `refused`: what was asked for cannot be had, for example an image
 * with a backing file. `host`: the host or hypervisor failed, after all attempts. `interrupted`: the manager died in
 * every attempt.
 */
const reason = z.object({
  code: z.enum(['illegal', 'refused', 'host', 'interrupted']),
  message: z.string().max(2000),
});
export type Reason = z.output<typeof reason>;

const configured = z.object({
  /** Fields whose change the running machine has taken. */
  now: z.array(configField),
  /** Fields that change when the machine is started the next time. */
  atNextStart: z.array(configField),
});
export type Configured = z.output<typeof configured>;

/** What answers a request, for those who `bus.request` it; others read the facts. */
const outcome = z.object({
  done: z.boolean(),
  state: z.enum(states),
  reason: reason.optional(),
  configured: configured.optional(),
  forced: z.boolean().optional(),
});
export type Outcome = z.output<typeof outcome>;

const plain = z.strictObject({ vm: machineName });

export const VmCreateRequested = defineEvent('vm.create.requested', {
  description: 'Somebody wants a machine to exist',
  data: z.strictObject({ vm: machineName, image: imagePath.optional(), config: machineConfig.prefault({}) }),
  response: outcome,
  ...ofMachine,
});
export const VmStartRequested = defineEvent('vm.start.requested', {
  description: 'Somebody wants a machine running',
  data: plain,
  response: outcome,
  ...ofMachine,
});
/** The longest that a guest may take to shut down before it is forced to; an attempt must outlast it. */
export const STOP_DEADLINE_MAX_MS = 60_000;
export const VmStopRequested = defineEvent('vm.stop.requested', {
  description: 'Somebody wants a machine shut down: by its guest within the deadline, else by force',
  data: z.strictObject({
    vm: machineName,
    /** Time for the guest to shut down, in ms. 0 forces at once. */
    deadlineMs: z.number().int().min(0).max(STOP_DEADLINE_MAX_MS).default(10_000),
  }),
  response: outcome,
  ...ofMachine,
});
export const VmPauseRequested = defineEvent('vm.pause.requested', {
  description: 'Somebody wants a machine to stand still',
  data: plain,
  response: outcome,
  ...ofMachine,
});
export const VmResumeRequested = defineEvent('vm.resume.requested', {
  description: 'Somebody wants a paused machine to go on',
  data: plain,
  response: outcome,
  ...ofMachine,
});
export const VmResetRequested = defineEvent('vm.reset.requested', {
  description: 'Somebody presses the reset button',
  data: plain,
  response: outcome,
  ...ofMachine,
});
export const VmConfigureRequested = defineEvent('vm.configure.requested', {
  description: 'Somebody wants a machine to be different: at once where it can, else at its next start',
  data: z.strictObject({ vm: machineName, change: configChange }),
  response: outcome,
  ...ofMachine,
});
export const VmSnapshotRequested = defineEvent('vm.snapshot.requested', {
  description: "Somebody wants the boot disk's present state kept under a name",
  data: z.strictObject({ vm: machineName, snapshot: snapshotName }),
  response: outcome,
  ...ofMachine,
});
export const VmDeleteRequested = defineEvent('vm.delete.requested', {
  description: 'Somebody wants a machine and its disks gone',
  data: plain,
  response: outcome,
  ...ofMachine,
});

export const requestEvents = [
  VmCreateRequested,
  VmStartRequested,
  VmStopRequested,
  VmPauseRequested,
  VmResumeRequested,
  VmResetRequested,
  VmConfigureRequested,
  VmSnapshotRequested,
  VmDeleteRequested,
] as const;

/** Facts that follow from a request name it; those that a machine brought about itself have none. */
const fact = { vm: z.string(), request: z.string().nullable() };
const factOf = <Type extends string>(type: Type, description: string) =>
  defineEvent(type, { description, data: z.object(fact), ...ofMachine });

export const VmCreated = factOf('vm.created', 'A machine exists and is stopped');
export const VmStarted = factOf('vm.started', 'A machine runs');
export const VmStopped = defineEvent('vm.stopped', {
  description: 'A machine is shut down',
  data: z.object({ ...fact, by: z.enum(['guest', 'force']) }),
  ...ofMachine,
});
export const VmPaused = factOf('vm.paused', 'A machine stands still');
export const VmResumed = factOf('vm.resumed', 'A machine goes on');
export const VmWasReset = factOf('vm.reset', 'A machine was reset');
export const VmConfigured = defineEvent('vm.configured', {
  description: 'A machine was changed, or will be when it starts the next time',
  data: z.object({ ...fact, ...configured.shape }),
  ...ofMachine,
});
export const VmSnapshotTaken = defineEvent('vm.snapshot.taken', {
  description: 'A snapshot of the boot disk is kept',
  data: z.object({ ...fact, snapshot: z.string() }),
  ...ofMachine,
});
export const VmDeleted = factOf('vm.deleted', 'A machine and its disks are gone');
export const VmCrashed = factOf('vm.crashed', 'A machine ended, and nobody had asked for it');

const failedOf = <V extends Verb>(verb: V) =>
  defineEvent(`vm.${verb}.failed`, {
    description: `A request to ${verb} a machine came to nothing`,
    data: z.object({ ...fact, state: z.enum(states), reason }),
    ...ofMachine,
  });
/** By verb: `vm.<verb>.failed`. */
export const VmFailed = {
  create: failedOf('create'),
  start: failedOf('start'),
  stop: failedOf('stop'),
  pause: failedOf('pause'),
  resume: failedOf('resume'),
  reset: failedOf('reset'),
  configure: failedOf('configure'),
  snapshot: failedOf('snapshot'),
  delete: failedOf('delete'),
} as const;

/** What a machine tells. `run` says which of its lives it is about: later lives are not judged by it. */
const told = z.object({ vm: machineName, run: z.uuid(), detail: z.string().max(500).optional() });
const toldAs = <Type extends string>(type: Type, description: string) =>
  defineEvent(type, { description, data: told, ...ofMachine });

export const GuestShutdown = toldAs('vm.guest.shutdown', 'The machine shuts down (QMP SHUTDOWN)');
export const GuestReset = toldAs('vm.guest.reset', 'The machine was reset (QMP RESET)');
export const GuestPaused = toldAs('vm.guest.paused', 'The machine stands still (QMP STOP)');
export const GuestResumed = toldAs('vm.guest.resumed', 'The machine goes on (QMP RESUME)');
export const GuestPowerButton = toldAs('vm.guest.powerdown', 'The power button was pressed (QMP POWERDOWN)');
export const GuestPanicked = toldAs('vm.guest.panicked', "The guest's kernel panicked (QMP GUEST_PANICKED)");
export const GuestDiskFailed = toldAs('vm.guest.io-error', 'A disk of the machine failed (QMP BLOCK_IO_ERROR)');
export const ProcessEnded = toldAs('vm.process.ended', "The machine's process is gone");

export const ProcessMute = toldAs('vm.process.mute', "The machine's process is there and does not answer");

/** By what a hypervisor calls it. */
export const toldEvents = {
  shutdown: GuestShutdown,
  reset: GuestReset,
  paused: GuestPaused,
  resumed: GuestResumed,
  powerdown: GuestPowerButton,
  panicked: GuestPanicked,
  'io-error': GuestDiskFailed,
  ended: ProcessEnded,
  mute: ProcessMute,
} as const;
export type ToldKind = keyof typeof toldEvents;

/** The reconciler found that what is recorded of a machine and what is real may differ. */
export const VmReconcileRequested = defineEvent('vm.reconcile.requested', {
  description: 'Look at a machine and bring its record and the real one together',
  data: plain,
  ...ofMachine,
});
/** A request was given up by the dispatcher: every attempt failed or took the manager with it. */
export const VmRequestDied = defineEvent('vm.request.died', {
  description: 'A request is a dead letter; say so as its fact, if nothing has been said yet',
  data: z.object({ vm: machineName, request: z.string(), verb: z.enum(verbs), message: z.string() }),
  ...ofMachine,
});

/** A machine as `list` and `describe` show it. */
const listed = z.object({ vm: z.string(), state: z.enum(states), cpus: z.number(), memoryMiB: z.number() });
export type Listed = z.output<typeof listed>;

export const VmListRequested = defineEvent('vm.list.requested', {
  description: 'Which machines are there? In order of their names, a page at a time',
  data: z.strictObject({ after: machineName.optional(), limit: z.number().int().min(1).max(1000).default(1000) }),
  response: z.array(listed),
  source: '/vm-manager',
});
export const VmDescribeRequested = defineEvent('vm.describe.requested', {
  description: 'What is known about a machine, and the last lines of its serial port? null when there is none',
  data: plain,
  response: z
    .object({
      ...listed.shape,
      config: machineConfig,
      /** What the running process has; differs from `config` in what waits for the next start. */
      live: machineConfig.nullable(),
      run: z.string().nullable(),
      snapshots: z.array(z.string()),
      console: z.string(),
    })
    .nullable(),
  // No subject: answered beside the machine's own events, not after them.
  source: '/vm-manager',
});
export const VmScreenshotRequested = defineEvent('vm.screenshot.requested', {
  description: "What is on a running machine's screen? A PNG in base64; null when it does not run",
  data: plain,
  response: z.object({ width: z.number(), height: z.number(), pngBase64: z.string() }).nullable(),
  source: '/vm-manager',
});

export const factEvents: readonly AnyEventDefinition[] = [
  VmCreated,
  VmStarted,
  VmStopped,
  VmPaused,
  VmResumed,
  VmWasReset,
  VmConfigured,
  VmSnapshotTaken,
  VmDeleted,
  VmCrashed,
  ...Object.values(VmFailed),
];

/** Which verb a type of request asks for. */
export const verbByType: ReadonlyMap<string, Verb> = new Map(verbs.map((verb) => [`vm.${verb}.requested`, verb]));
