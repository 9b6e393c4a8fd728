import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scratchDirectory } from './cleanup.mjs';
import { faults } from './checker.mjs';
import { eio } from './faults/eio.mjs';
import { enospc } from './faults/enospc.mjs';
import { kill } from './faults/kill.mjs';
import { power } from './faults/power.mjs';
import { cut } from './faults/postgres/cut.mjs';
import { kill as killShared } from './faults/postgres/kill.mjs';
import { pool } from './faults/postgres/pool.mjs';
import { restart } from './faults/postgres/restart.mjs';
import { silence } from './faults/postgres/silence.mjs';
import { terminate } from './faults/postgres/terminate.mjs';
import { randomFrom } from './random.mjs';

/** What can be done to each engine. */
export const modes = {
  sqlite: { kill, power, enospc, eio },
  postgres: { kill: killShared, restart, cut, silence, terminate, pool },
};

/** Cycles on one data directory before another is begun: what the checker holds in memory stays small. */
const CYCLES_PER_TRIAL = 50;

const sums = ['sent', 'acked', 'delivered', 'attempts', 'untried', ...faults, 'broken'];

/**
 * Runs so many cycles of a mode, trial by trial, and adds up their verdicts.
 * @param options `{ mode, cycles, seed, settings, keep, stopAtFirst, say }`; `settings` are those of every trial
 */
export async function runCycles({
  mode,
  cycles,
  seed,
  settings,
  cyclesPerTrial = CYCLES_PER_TRIAL,
  keep = false,
  stopAtFirst = false,
  say = () => undefined,
}) {
  const fault = modes[settings.engine][mode];
  fault.needs();
  let keeping = false;
  const scratch = scratchDirectory(mode, () => keeping);
  const total = {
    mode,
    cycles: 0,
    ...Object.fromEntries(sums.map((name) => [name, 0])),
    seed,
    violations: [],
    kept: [],
  };
  let tools;
  try {
    tools = await fault.prepare(scratch.directory);
    const random = randomFrom(seed);
    for (let trial = 0; total.cycles < cycles; trial++) {
      const directory = join(scratch.directory, `trial-${trial}`);
      mkdirSync(directory);
      let told = total.cycles;
      // Removed below when all was well, and kept as it is when the trial did not come to its end.
      keeping = keep;
      total.kept.push(directory);
      const result = await fault.trial({
        directory,
        settings: { ...settings, seed: seed + trial, keep },
        random,
        tools,
        cyclesMax: Math.min(cyclesPerTrial, cycles - total.cycles),
        cyclesDone: total.cycles,
        told: () => say({ cycle: ++told, cycles }),
      });
      add(total, result, { trial, seed });
      say({ total, verdict: result.verdict });
      const bad = result.verdict.violations.length > 0;
      if (bad && keep) {
        writeFileSync(
          join(directory, 'history.jsonl'),
          result.verdict.records.map((one) => `${JSON.stringify(one)}\n`).join(''),
        );
      } else {
        total.kept.pop();
        rmSync(directory, { recursive: true, force: true });
      }
      keeping = total.kept.length > 0;
      if (bad && stopAtFirst) break;
    }
  } catch (error) {
    if (keeping) error.message += `\nkept: ${total.kept.join(' ')}`;
    throw error;
  } finally {
    await fault.finish?.(tools);
    scratch.undo();
  }
  return total;
}

function add(total, { cycles, verdict }, where) {
  total.cycles += cycles;
  for (const name of sums) total[name] += verdict[name];
  for (const { op, ms } of verdict.records) {
    if (op === 'handed-over' && ms !== null) total.handedOverMsMax = Math.max(total.handedOverMsMax ?? 0, ms);
  }
  total.violations.push(...verdict.violations.map((one) => ({ ...one, ...where })));
}

export const isBad = (total) => [...faults, 'broken'].some((name) => total[name] > 0);
