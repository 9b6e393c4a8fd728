import { cp, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { faults } from './checker.mjs';
import { scratchDirectory } from './cleanup.mjs';
import { MissingError } from './commands.mjs';
import { mutants } from './mutants.mjs';
import { mutants as postgresMutants } from './postgres/mutants.mjs';
import { runCycles } from './run.mjs';

const byEngine = { sqlite: mutants, postgres: postgresMutants };
const CYCLES_MAX = 100;
const CYCLES_PER_TRIAL = 5;
const modules = fileURLToPath(new URL('../../node_modules', import.meta.url));

/**
 * Runs the harness against builds with a defect, and says which it caught and after how many cycles. That it finds
 * nothing in a good build says something only because it finds these.
 */
export async function prove({ dist, engine, seed, mutants: names }) {
  const known = byEngine[engine];
  const unknown = names.filter((name) => !known.some((mutant) => mutant.name === name));
  if (unknown.length > 0) throw new MissingError(`there is no mutant ${unknown.join(', ')}`);
  const wanted = known.filter(({ name }) => names.length === 0 || names.includes(name));
  const verdicts = [];
  for (const mutant of wanted) {
    verdicts.push(await caught(mutant, { dist, engine, seed }));
    console.log(lineOf(verdicts.at(-1)));
  }
  const survived = verdicts.filter(({ found }) => !found);
  console.log(`${verdicts.length - survived.length} of ${verdicts.length} caught`);
  process.exitCode = survived.length > 0 ? 1 : 0;
}

async function caught(mutant, { dist, engine, seed }) {
  const copy = await mutated(dist, mutant);
  const { mode, settings, cyclesMax = CYCLES_MAX } = mutant;
  try {
    const total = await runCycles({
      mode,
      cycles: cyclesMax,
      cyclesPerTrial: mutant.cyclesPerTrial ?? CYCLES_PER_TRIAL,
      seed,
      settings: { dist: join(copy.directory, 'dist'), engine, ...settings },
      stopAtFirst: true,
    });
    const counts = [...faults, 'broken'].filter((name) => total[name] > 0).map((name) => `${total[name]} ${name}`);
    const found = total.violations.length > 0;
    return {
      mutant,
      found,
      cycles: total.cycles,
      how: [counts.join(', '), total.violations[0]?.rule].filter(Boolean).join(': '),
    };
  } catch (error) {
    if (error instanceof MissingError) throw error;
    // It cannot even come to its end: that is seen as well.
    return { mutant, found: true, cycles: null, how: error.message.split('\n')[0] };
  } finally {
    copy.undo();
  }
}

const lineOf = ({ mutant, found, cycles, how }) =>
  [
    (found ? 'caught' : 'NOT CAUGHT').padEnd(11),
    mutant.mode.padEnd(7),
    (cycles === null ? 'stopped' : `${cycles} cycles`).padEnd(11),
    mutant.name.padEnd(24),
    how,
  ].join(' ');

/** A copy of the build with the defect in it. */
async function mutated(dist, { name, patches }) {
  const copy = scratchDirectory(`mutant-${name}`);
  await cp(dist, join(copy.directory, 'dist'), { recursive: true });
  await writeFile(join(copy.directory, 'package.json'), '{ "type": "module" }\n');
  await symlink(modules, join(copy.directory, 'node_modules'));
  for (const [file, from, to] of patches) await patch(join(copy.directory, 'dist', file), from, to);
  return copy;
}

/** Replaces a piece of code, however its lines are broken. */
async function patch(path, from, to) {
  const code = await readFile(path, 'utf8');
  const pieces = from.split(/\s+/).map((piece) => piece.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
  const place = new RegExp(pieces.join(String.raw`\s*`));
  if (!place.test(code)) throw new MissingError(`a mutant no longer fits: "${from}" is not in ${path}`);
  await writeFile(
    path,
    code.replace(place, () => to),
  );
}
