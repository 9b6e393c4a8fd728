import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { experiment, type Outcome } from './sequencing-experiment.ts';
import { xminFilterSeen, xminFilterTaken } from './sequencing-mutants.ts';
import { schemaUnderTest, type SchemaUnderTest } from './schema-under-test.ts';

const plan = { seed: 20_261_125, writers: 8, keys: 6, turns: 120 };

/** Rounds of the experiment in which a mutant has to be found out; it has been in the first one so far. */
const ROUNDS_MAX = 5;

describe('transactions that publish, while two processes sequence', () => {
  let schema: SchemaUnderTest;
  beforeEach(async () => {
    schema = await schemaUnderTest();
  });
  afterEach(() => schema.dispose());

  it('nothing is missed, doubled or inverted, and nothing that was rolled back comes', async () => {
    const outcome = await experiment(schema, plan);
    console.log(`sequencing: ${described(outcome)}`);
    const { committed, rolledBack, ...faults } = outcome;
    expect(faults).toEqual({ missed: 0, doubled: 0, inverted: 0, undead: 0, notFollowed: 0 });
    expect(committed).toBeGreaterThan(800);
    expect(rolledBack).toBeGreaterThan(40);
  });

  it('(the experiment finds out the usual filter by transaction id: it inverts)', async () => {
    let inverted = 0;
    for (let round = 0; inverted === 0 && round < ROUNDS_MAX; round++) {
      await schema.dispose();
      schema = await schemaUnderTest();
      await schema.mutate('see_incoming', xminFilterSeen);
      await schema.mutate('take_incoming', xminFilterTaken);
      const outcome = await experiment(schema, { ...plan, seed: plan.seed + round });
      console.log(`the usual filter: ${described(outcome)}`);
      inverted += outcome.inverted;
    }
    expect(inverted).toBeGreaterThan(0);
  });
});

function described({ committed, rolledBack, missed, doubled, inverted, undead, notFollowed }: Outcome): string {
  return (
    `${committed} events committed, ${rolledBack} rolled back; ${missed} missed, ${doubled} doubled, ` +
    `${inverted} inverted, ${undead} that were rolled back, ${notFollowed} behind the reader`
  );
}
