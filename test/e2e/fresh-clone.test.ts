import { readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
const entries = Object.entries(scripts).flatMap(([name, command]) => {
  const file = /\bnode (\S+\.mjs)/.exec(command)?.[1];
  return file === undefined ? [] : [[`npm run ${name}`, file] as const];
});

const IMPORT = /^(?:import|export)\s(?:[^;'"]*?\sfrom\s*)?['"]([^'"]+)['"]/gm;

/** Packages that are imported before the first line runs, with the files on the way to them. */
function packagesNeeded(file: string, way: readonly string[] = [], seen: Set<string> = new Set()): readonly string[] {
  if (seen.has(file)) return [];
  seen.add(file);
  const along = [...way, relative(root, file)];
  return [...readFileSync(file, 'utf8').matchAll(IMPORT)].flatMap(([, specifier = '']) => {
    if (specifier.startsWith('node:')) return [];
    if (specifier.startsWith('.')) return packagesNeeded(resolve(dirname(file), specifier), along, seen);
    return [[...along, specifier].join(' > ')];
  });
}

/** Where nothing is installed yet, the command that installs it must be able to begin. */
describe('in a fresh clone', () => {
  it.each(entries)('%s needs no package to begin: %s', (_name, file) => {
    expect(packagesNeeded(join(root, file))).toEqual([]);
  });

  it('a package that is needed too early would be found', () => {
    expect(packagesNeeded(join(root, 'test/crash/command.mjs'))[0]).toMatch(/^test\/crash\/command\.mjs > .+ > pg$/);
  });
});
