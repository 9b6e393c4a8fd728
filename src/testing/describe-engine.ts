import { guarantees, runCase, type ConformanceCase, type EngineUnderTest } from './conformance/index.ts';

/** What of a test runner the suite needs: vitest, jest, mocha and `node:test` all have it. */
export interface TestRunner {
  describe(name: string, body: () => void): unknown;
  it(name: string, body: () => Promise<void>): unknown;
}

function globalRunner(): TestRunner {
  const { describe, it } = globalThis as Partial<TestRunner>;
  if (describe && it) return { describe, it };
  throw new Error('describeEngine needs a test runner: give it { describe, it } as its second argument');
}

/**
 * Registers the conformance suite for an engine: one test for each case, named by its number. Every engine must pass
 * all of them. What it declares to lack is tested too: for the documented refusal.
 *
 * Cases use a fake clock and wait for outcomes, so none is decided by timing; each has a place of its own, so they may
 * run beside each other.
 * @param runner where to register; default the `describe` and `it` that stand in the global scope
 */
export function describeEngine(engine: EngineUnderTest, runner: TestRunner = globalRunner()): void {
  runner.describe(`conformance of ${engine.name}`, () => {
    for (const guarantee of guarantees) {
      if (guarantee.cases.length === 0) continue;
      runner.describe(`${guarantee.id} ${guarantee.name}`, () => {
        for (const one of guarantee.cases) runner.it(titleOf(engine, one), () => runCase(engine, one));
      });
    }
  });
}

function titleOf({ capabilities }: EngineUnderTest, { id, title, needs }: ConformanceCase): string {
  return needs === undefined || capabilities[needs] ? `${id} ${title}` : `${id} ${title} (refused: no ${needs})`;
}
