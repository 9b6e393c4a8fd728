import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { command, setup } from './commands.ts';
import { Simulation, type Command } from './dispatcher-model.ts';

// The same commands and the same checks as for one process, on several that share the log: they come, go, are killed,
// and hang until the others take them for dead. What one of them handles no other does, and keys keep their order.

const which = fc.nat({ max: 3 });
const sharedCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 24, arbitrary: command },
  { weight: 2, arbitrary: fc.constant<Command>({ do: 'join' }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('crash' as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const), which }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('hang' as const), which, ms: fc.constantFrom(500, 9500, 10_500, 15_000) }),
  },
);

const RUNS = Number(process.env['CARILLON_PROPERTY_RUNS'] ?? 100);
const SEED = process.env['CARILLON_PROPERTY_SEED'];

describe('several processes that share a log', () => {
  it('keep G2, G3 and G4 under any interleaving', { timeout: 600_000 }, async () => {
    let crashes = 0;
    let attempts = 0;
    let handledBy = 0;
    await fc.assert(
      fc.asyncProperty(
        setup.map((given) => ({ ...given, processes: 2 + (given.seed % 2) })),
        fc.array(sharedCommand, { minLength: 1, maxLength: 40, size: 'max' }),
        async (given, commands) => {
          const simulation = new Simulation(given);
          await simulation.start();
          for (const one of commands) {
            await simulation.run(one);
            simulation.assertSound();
          }
          await simulation.finish();
          await simulation.stopAll();
          simulation.assertSound();
          crashes += simulation.crashesInAll;
          const known = [...simulation.known.values()];
          attempts += known.reduce((sum, { runs }) => sum + runs, 0);
          handledBy += new Set(known.map(({ by }) => by?.no)).size;
        },
      ),
      { numRuns: RUNS, includeErrorInReport: true, ...(SEED === undefined ? {} : { seed: Number(SEED) }) },
    );
    // What was meant to be exercised was: more than one process at work.
    expect(crashes).toBeGreaterThan(RUNS / 2);
    expect(attempts).toBeGreaterThan(RUNS * 5);
    expect(handledBy).toBeGreaterThan(RUNS * 1.5);
  });
});
