import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { open, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { carillonError } from 'carillon';
import { z } from 'zod';
import { machineConfig, machineName } from './config.ts';
import { states, verbs } from './events.ts';

/**
 * What the manager knows of each machine, one file each, written whole and flushed before anything is done that relies
 * on it. machine-states.ts says what the fields mean to a manager that starts after a crash.
 */
const fact = z.object({ id: z.string(), type: z.string(), data: z.unknown() });
const outcomeKept = z.looseObject({ done: z.boolean(), state: z.enum(states) });

const record = z.object({
  vm: machineName,
  state: z.enum(states),
  /** What was asked for last: the machine has it at its next start at the latest. */
  config: machineConfig,
  /** What the process has; null without one. */
  live: machineConfig.nullable(),
  /** The life at hand; null without a process. */
  run: z.uuid().nullable(),
  /**
   * What is being done, for which request. `facts`: what was found on the way and is yet to be told. `error`: how the last
   * attempt failed.
   */
  doing: z
    .object({
      request: z.string(),
      verb: z.enum(verbs),
      facts: z.array(fact),
      run: z.uuid().optional(),
      error: z.string().optional(),
    })
    .nullable(),
  /** The last event that changed anything, and what is to be told and answered because of it. */
  last: z.object({ event: z.string(), facts: z.array(fact), outcome: outcomeKept.nullable() }).nullable(),
  snapshots: z.array(z.string()),
  /** Starts after a crash since somebody last asked for one, and the request for the last of them. */
  restarts: z.number(),
  restart: z.string().nullable(),
  changedMs: z.number(),
});
export type MachineRecord = z.output<typeof record>;
export type FactRecord = z.output<typeof fact>;

const ENDING = '.json';
/** How long a deleted machine is remembered: longer than any request for it can be on its way again. */
const TOMBSTONE_MS = 24 * 3_600_000;

/** A machine of which nothing is known. */
export function absent(vm: string): MachineRecord {
  return {
    vm,
    state: 'absent',
    config: machineConfig.parse({}),
    live: null,
    run: null,
    doing: null,
    last: null,
    snapshots: [],
    restarts: 0,
    restart: null,
    changedMs: 0,
  };
}

export interface Records {
  get(vm: string): MachineRecord;
  /** Every record, tombstones included, in order of their names. */
  all(): readonly MachineRecord[];
  /** Resolves when the record is on the disk. Calls for one machine must not overlap. */
  write(next: MachineRecord): Promise<void>;
}

/** In memory alone, for tests that need no disk: the map is what outlives a manager. */
export function recordsInMemory(kept: Map<string, MachineRecord> = new Map()): Records {
  return {
    get: (vm) => kept.get(vm) ?? absent(vm),
    all: () => [...kept.values()].toSorted((a, b) => (a.vm < b.vm ? -1 : 1)),
    write: (next) => {
      kept.set(next.vm, next);
      return Promise.resolve();
    },
  };
}

/**
 * Records in a folder, read once: a data directory has one manager at a time, which the bus's own lock sees to.
 * Fails with `CARILLON_STORAGE_CORRUPT` on a file that is no record, `CARILLON_STORAGE_ACCESS`.
 */
export async function recordsInFolder(folder: string, nowMs: number): Promise<Records> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const kept = new Map<string, MachineRecord>();
  for (const file of readdirSync(folder)) {
    // What a crash left of a write: the record it was to replace is whole.
    if (!file.endsWith(ENDING)) {
      await unlink(join(folder, file));
      continue;
    }
    const found = parse(join(folder, file));
    if (found.state === 'absent' && found.doing === null && nowMs - found.changedMs > TOMBSTONE_MS) {
      await unlink(join(folder, file));
    } else kept.set(found.vm, found);
  }
  const memory = recordsInMemory(kept);
  return {
    ...memory,
    write: async (next) => {
      await replace(folder, `${next.vm}${ENDING}`, JSON.stringify(next));
      await memory.write(next);
    },
  };
}

function parse(path: string): MachineRecord {
  try {
    return record.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    throw carillonError('CARILLON_STORAGE_CORRUPT', `${path} is no record of a machine`, { path }, error);
  }
}

/** Writes a file whole: under another name, flushed, then renamed, and the folder flushed. */
async function replace(folder: string, name: string, text: string): Promise<void> {
  const path = join(folder, name);
  const file = await open(`${path}.next`, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.next`, path);
  const directory = await open(folder, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
