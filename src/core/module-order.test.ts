import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defineModule } from './define-module.ts';
import { isCarillonError, type CarillonError, type ErrorCode } from './errors.ts';
import type { Module } from './module.ts';
import { orderModules } from './module-order.ts';

const modules = (needs: Readonly<Record<string, readonly string[]>>): Module[] =>
  Object.entries(needs).map(([name, dependsOn]) => defineModule(name, { dependsOn }));
const order = (given: readonly Module[]): string =>
  orderModules(given)
    .map(({ moduleId }) => moduleId)
    .join(' ');

function refused(code: ErrorCode, given: readonly Module[]): CarillonError {
  try {
    orderModules(given);
  } catch (error) {
    if (isCarillonError(error, code)) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('orderModules', () => {
  it('keeps the given order where dependencies allow', () => {
    expect(order([])).toBe('');
    expect(order(modules({ c: [], a: [], b: [] }))).toBe('c a b');
    expect(order(modules({ web: ['db', 'log'], log: [], db: ['log'], last: [] }))).toBe('log db web last');
  });

  it('names a circle', () => {
    const error = refused('CARILLON_MODULE_CYCLE', modules({ x: ['a'], a: ['b'], b: ['c'], c: ['a'] }));
    expect(error.message).toContain('a → b → c → a');
    expect(error.details).toEqual({ circle: ['a', 'b', 'c', 'a'] });
    expect(refused('CARILLON_MODULE_CYCLE', modules({ a: ['a'] })).details).toEqual({ circle: ['a', 'a'] });
  });

  it('refuses what is unknown, twice the same or nameless', () => {
    expect(refused('CARILLON_MODULE_INVALID', modules({ a: ['b'] })).message).toContain('depends on "b"');
    expect(refused('CARILLON_MODULE_INVALID', [...modules({ a: [] }), ...modules({ a: [] })]).message).toContain(
      'two modules',
    );
    expect(refused('CARILLON_MODULE_INVALID', [{ ...defineModule('a', {}), moduleId: '' }]).code).toBe(
      'CARILLON_MODULE_INVALID',
    );
  });

  it('puts every module once, after all it depends on', () => {
    const graphs = fc.array(fc.array(fc.nat(11), { maxLength: 4 }), { maxLength: 12 }).map((edges) =>
      // Edges to smaller numbers only: no circles.
      edges.map((targets, index) => [...new Set(targets.filter((target) => target < index))]),
    );
    fc.assert(
      fc.property(graphs, fc.infiniteStream(fc.nat()), (graph, keys) => {
        const given = graph
          .map((targets, index) => defineModule(`m${index}`, { dependsOn: targets.map((target) => `m${target}`) }))
          .map((module) => ({ module, key: keys.next().value as number }))
          .toSorted((left, right) => left.key - right.key)
          .map(({ module }) => module);
        const ordered = orderModules(given);
        expect(new Set(ordered)).toEqual(new Set(given));
        expect(ordered).toHaveLength(given.length);
        const started = new Set<string>();
        for (const { moduleId, dependsOn } of ordered) {
          for (const needed of dependsOn) expect(started.has(needed)).toBe(true);
          started.add(moduleId);
        }
      }),
    );
  });
});
