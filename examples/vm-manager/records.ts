import { mkdirSync } from 'node:fs';
import { type FileHandle, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { carillonError } from 'carillon';
import { z } from 'zod';
import { machineConfig, machineName } from './config.ts';
import { states, verbs } from './events.ts';

/**
 * What the manager knows of each machine, on the disk before anything is done that relies on it. machine-states.ts says
 * what the fields mean to a manager that starts after a crash.
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
   * What is being done, for which request, at which place in the log. `facts`: what was found on the way and is yet to be told. `error`: how the last
   * attempt failed.
   */
  doing: z
    .object({
      request: z.string(),
      position: z.number(),
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

const FILE = 'records.jsonl';
/** Lines in the file for each record, from which on it is written anew. */
const LINES_EACH = 16;
const LINES_MIN = 10_000;
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
  /** Writes what is under way, and lets go of the file. */
  close(): Promise<void>;
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
    close: () => Promise.resolve(),
  };
}

/**
 * Records in a file: a line for each write, the last line of a machine counts. Writes that come while the disk is busy
 * share its next flush. A file for each record, replaced by renaming, took five times as long with sixteen machines at work.
 *
 * The file is written anew from memory when it opens, when it has grown, and after a write has failed; so a line that a
 * crash or a full disk has cut off is always the last one.
 *
 * A data folder has one manager at a time, which the bus's own lock sees to.
 * Fails with `CARILLON_STORAGE_CORRUPT` on a line that is no record.
 */
export async function recordsInFolder(folder: string, nowMs: number): Promise<Records> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const records = new JournalRecords(folder, await readKept(join(folder, FILE), nowMs));
  await records.rewrite();
  return records;
}

async function readKept(path: string, nowMs: number): Promise<Map<string, MachineRecord>> {
  const kept = new Map<string, MachineRecord>();
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  // What follows the last end of a line was cut off by a crash: its write had not resolved.
  for (const [index, line] of text.split('\n').slice(0, -1).entries()) {
    const found = parse(line, `${path}:${index + 1}`);
    kept.set(found.vm, found);
  }
  for (const { vm, state, doing, changedMs } of kept.values()) {
    if (state === 'absent' && doing === null && nowMs - changedMs > TOMBSTONE_MS) kept.delete(vm);
  }
  return kept;
}

function parse(line: string, place: string): MachineRecord {
  try {
    return record.parse(JSON.parse(line));
  } catch (error) {
    throw carillonError('CARILLON_STORAGE_CORRUPT', `${place} is no record of a machine`, { place }, error);
  }
}

interface Write {
  readonly next: MachineRecord;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

class JournalRecords implements Records {
  readonly folder: string;
  readonly kept: Map<string, MachineRecord>;
  readonly get: Records['get'];
  readonly all: Records['all'];
  waiting: Write[] = [];
  flushing: Promise<void> | undefined;
  file: FileHandle | undefined;
  lines = 0;

  constructor(folder: string, kept: Map<string, MachineRecord>) {
    this.folder = folder;
    this.kept = kept;
    const memory = recordsInMemory(kept);
    this.get = (vm) => memory.get(vm);
    this.all = () => memory.all();
  }

  write(next: MachineRecord): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ next, resolve, reject });
      this.flushing ??= this.flush().finally(() => (this.flushing = undefined));
    });
  }

  async flush(): Promise<void> {
    while (this.waiting.length > 0) {
      const batch = this.waiting;
      this.waiting = [];
      try {
        if (!this.file || this.lines > Math.max(LINES_MIN, this.kept.size * LINES_EACH)) await this.rewrite();
        const file = this.file;
        await file?.appendFile(batch.map(({ next }) => `${JSON.stringify(next)}\n`).join(''));
        await file?.datasync();
        this.lines += batch.length;
        for (const { next } of batch) this.kept.set(next.vm, next);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        // What is in the file now is unknown: the next write begins a new one.
        await this.letGo();
        for (const { reject } of batch) reject(error);
      }
    }
  }

  /** The whole file, from memory: under another name, flushed, then renamed, and the folder flushed. */
  async rewrite(): Promise<void> {
    await this.letGo();
    const path = join(this.folder, FILE);
    const next = await open(`${path}.next`, 'w', 0o600);
    try {
      await next.writeFile([...this.kept.values()].map((one) => `${JSON.stringify(one)}\n`).join(''));
      await next.sync();
    } finally {
      await next.close();
    }
    await rename(`${path}.next`, path);
    const folder = await open(this.folder, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
    this.lines = this.kept.size;
    this.file = await open(path, 'a', 0o600);
  }

  async letGo(): Promise<void> {
    const { file } = this;
    this.file = undefined;
    await file?.close();
  }

  async close(): Promise<void> {
    await this.flushing;
    await this.letGo();
  }
}
