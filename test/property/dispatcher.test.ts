import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { command, setup } from './commands.ts';
import { Simulation } from './dispatcher-model.ts';

// Any interleaving of publish, ack, fail, crash and restart keeps G2, G3 and G4: see dispatcher-model.ts for what is
// checked. A failure prints the seed and path that repeat it, and the history of the shortest run that fails.

const RUNS = Number(process.env['CARILLON_PROPERTY_RUNS'] ?? 150);
const SEED = process.env['CARILLON_PROPERTY_SEED'];

describe('the dispatcher on a store that crashes, lags and fills up', () => {
  it('keeps G2, G3 and G4 under any interleaving', { timeout: 600_000 }, async () => {
    let crashes = 0;
    let attempts = 0;
    await fc.assert(
      fc.asyncProperty(
        setup,
        fc.array(command, { minLength: 1, maxLength: 40, size: 'max' }),
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
          for (const { runs } of simulation.known.values()) attempts += runs;
        },
      ),
      { numRuns: RUNS, includeErrorInReport: true, ...(SEED === undefined ? {} : { seed: Number(SEED) }) },
    );
    // What was meant to be exercised was.
    expect(crashes).toBeGreaterThan(RUNS / 2);
    expect(attempts).toBeGreaterThan(RUNS * 5);
  });
});
