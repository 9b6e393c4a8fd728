import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Simulation, type Command, type Outcome, type Planned, type Setup } from './dispatcher-model.ts';

// Any interleaving of publish, ack, fail, crash and restart keeps G2, G3 and G4: see dispatcher-model.ts for what is
// checked. A failure prints the seed and path that repeat it, and the history of the shortest run that fails.

const outcome = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Outcome>('ok') },
  { weight: 3, arbitrary: fc.constant<Outcome>('throw') },
  { weight: 2, arbitrary: fc.constant<Outcome>('slow') },
  { weight: 2, arbitrary: fc.constant<Outcome>('publish') },
  { weight: 1, arbitrary: fc.constantFrom<Outcome>('later', 'give-up', 'hang') },
);

const planned: fc.Arbitrary<Planned> = fc.record({
  // Key 0 stands for none.
  key: fc.integer({ min: 0, max: 3 }),
  outcomes: fc.array(outcome, { maxLength: 4 }),
});

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      events: fc.array(planned, { minLength: 1, maxLength: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('publish-again' as const), which: fc.nat({ max: 50 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 3, arbitrary: fc.constant<Command>({ do: 'settle' }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('advance' as const),
      ms: fc.constantFrom(0, 5, 11, 50, 300, 700, 1000, 1300),
    }),
  },
  { weight: 3, arbitrary: fc.constant<Command>({ do: 'crash' }) },
  { weight: 2, arbitrary: fc.constant<Command>({ do: 'restart' }) },
  { weight: 1, arbitrary: fc.constant<Command>({ do: 'redrive' }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('full' as const), full: fc.boolean() }) },
);

const setup: fc.Arbitrary<Setup> = fc.record({
  seed: fc.nat(),
  order: fc.constantFrom('key', 'key', 'key', 'total', 'none'),
  onDead: fc.constantFrom('continue', 'hold'),
  concurrency: fc.integer({ min: 1, max: 4 }),
  attemptsMax: fc.integer({ min: 1, max: 4 }),
  batch: fc.constantFrom(0, 0, 0, 3),
  readAheadMax: fc.constantFrom(1, 3, 2048),
});

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
          await simulation.stop();
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
