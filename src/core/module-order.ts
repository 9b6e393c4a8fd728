import { assertModuleName } from './declarations.ts';
import { carillonError } from './errors.ts';
import type { Module } from './module.ts';

/**
 * The modules in an order to start them: each after those it depends on, otherwise as given. Stop them in reverse.
 * Fails with `CARILLON_MODULE_INVALID` (a name that is none, twice the same, or unknown) and `CARILLON_MODULE_CYCLE`.
 */
export function orderModules(modules: readonly Module[]): Module[] {
  const byName = new Map<string, Module>();
  for (const module of modules) {
    assertModuleName(module.moduleId);
    if (byName.has(module.moduleId)) {
      const message = `there are two modules named "${module.moduleId}"`;
      throw carillonError('CARILLON_MODULE_INVALID', message, { module: module.moduleId });
    }
    byName.set(module.moduleId, module);
  }
  const ordered = new Set<Module>();
  for (const module of modules) visit(module, byName, ordered, []);
  return [...ordered];
}

function visit(
  module: Module,
  byName: ReadonlyMap<string, Module>,
  ordered: Set<Module>,
  path: readonly string[],
): void {
  if (ordered.has(module)) return;
  const name = module.moduleId;
  if (path.includes(name)) {
    const circle = [...path.slice(path.indexOf(name)), name];
    throw carillonError('CARILLON_MODULE_CYCLE', `modules depend on each other: ${circle.join(' → ')}`, { circle });
  }
  for (const needed of module.dependsOn) {
    const dependency = byName.get(needed);
    if (dependency === undefined) {
      const message = `module "${name}" depends on "${needed}", which is not there`;
      throw carillonError('CARILLON_MODULE_INVALID', message, { module: name, dependsOn: needed });
    }
    visit(dependency, byName, ordered, [...path, name]);
  }
  ordered.add(module);
}
