import fc from 'fast-check';
import type { Command, Outcome, Planned, Setup } from './dispatcher-model.ts';

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

export const command: fc.Arbitrary<Command> = fc.oneof(
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

export const setup: fc.Arbitrary<Setup> = fc.record({
  seed: fc.nat(),
  order: fc.constantFrom('key', 'key', 'key', 'total', 'none'),
  onDead: fc.constantFrom('continue', 'hold'),
  concurrency: fc.integer({ min: 1, max: 4 }),
  attemptsMax: fc.integer({ min: 1, max: 4 }),
  batch: fc.constantFrom(0, 0, 0, 3),
  readAheadMax: fc.constantFrom(1, 3, 2048),
  processes: fc.constant(1),
});
