import type pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CommitBatch } from '../../src/engine/log/index.ts';
import { emptyBatch } from '../../src/engine/log/store.ts';
import { columnsOf, commitStatement, commitValues } from '../../src/engines/postgres/batch.ts';
import { eventRow } from './event-row.ts';
import {
  heldUpOnceSeen,
  SEEN_LOCK,
  horizonOfAnotherStatement,
  xmaxForTheHorizon,
  xminFilterSeen,
  xminFilterTaken,
} from './sequencing-mutants.ts';
import { schemaUnderTest, type SchemaUnderTest } from './schema-under-test.ts';
import { processOf, until, untilBlocked } from './waiting.ts';

/**
 * Interleavings that sequencing has to survive, each brought about step by step with several connections, and each
 * tried on a mutant that does not survive it. The rule is told in src/postgres/sql/sequencing.sql.
 */
describe('moving what applications publish in their transactions into the log', () => {
  let schema: SchemaUnderTest;
  let sequencer: pg.Client;

  beforeEach(async () => {
    schema = await schemaUnderTest();
    sequencer = await schema.client();
  });
  afterEach(() => schema.dispose());

  const enqueue = async (client: pg.Client, ...ids: string[]): Promise<void> => {
    const { values } = columnsOf(ids.map((id) => eventRow(id)));
    const parameters = values.map((_, index) => `$${index + 1}`).join(', ');
    await client.query(`SELECT enqueue(${parameters})`, [...values]);
  };
  const look = async (client: pg.Client = sequencer): Promise<void> => void (await client.query('SELECT look(1, 0)'));
  /** As a process of the engine publishes. */
  const commit = async (id: string): Promise<void> => {
    const batch: CommitBatch = {
      ...emptyBatch,
      recordedMs: 1,
      units: [{ rows: [eventRow(id)], expectedRevision: undefined, subject: null, scheduled: undefined }],
    };
    await sequencer.query(commitStatement('commit'), commitValues(batch, 0, null, null));
  };
  const log = async (): Promise<string[]> => {
    const { rows } = await sequencer.query<{ id: string }>('SELECT id FROM events ORDER BY position');
    return rows.map(({ id }) => id);
  };
  const gaps = async (): Promise<number> => {
    const { rows } = await sequencer.query<{ n: number }>(
      'SELECT cardinality(gaps) AS n FROM sequenced ORDER BY version DESC LIMIT 1',
    );
    return rows[0]?.n as number;
  };
  const begun = async (): Promise<pg.Client> => {
    const client = await schema.client();
    await client.query('BEGIN');
    return client;
  };

  const gapsFilled = (): Promise<void> =>
    until(async () => {
      await look();
      return (await gaps()) === 0;
    }, 'the gaps to be filled');

  /** What others publish while one sequencing statement is under way: it has its snapshot, and waits to write. */
  async function commitsDuringTheStatement(round: number = 0): Promise<void> {
    const late = await begun();
    await enqueue(late, `late ${round}`);
    const early = await schema.client();
    await enqueue(early, `early ${round}`);
    const inTheWay = await begun();
    await inTheWay.query(`SELECT pg_advisory_xact_lock(${SEEN_LOCK})`);
    const process = await processOf(sequencer);
    const looking = look();
    await untilBlocked(inTheWay, process);
    await late.query('COMMIT');
    await inTheWay.query('ROLLBACK');
    await looking;
    expect(await log()).toContain(`early ${round}`);
    await look();
  }

  it('an event committed while the statement runs is not taken for rolled back', async () => {
    await schema.mutate('see_incoming', heldUpOnceSeen);
    await commitsDuringTheStatement();
    expect(await log()).toEqual(['early 0', 'late 0']);
    await gapsFilled();
  });

  it('(a mutant that asks in another statement which transactions have ended misses that event)', async () => {
    await schema.mutate('see_incoming', horizonOfAnotherStatement);
    expect(await missesForGood('late', commitsDuringTheStatement)).toBe(true);
  });

  /** Others may use the server, and a transaction of theirs hides what is wrong: so there are several rounds. */
  async function missesForGood(name: string, round: (no: number) => Promise<void>): Promise<boolean> {
    for (let no = 0; no < 50; no++) {
      await round(no);
      if (!(await log()).includes(`${name} ${no}`) && (await gaps()) === 0) return true;
      await gapsFilled();
    }
    return false;
  }

  /** A transaction that runs may have an id beyond the xmax of a snapshot: that is one past the last that has ended. */
  async function runsBeyondTheSnapshot(round: number = 0): Promise<void> {
    const running = await begun();
    await enqueue(running, `running ${round}`);
    await look();
    await running.query('COMMIT');
    await look();
  }

  it('an event of a running transaction with the highest id of all is not taken for rolled back', async () => {
    await runsBeyondTheSnapshot();
    expect(await log()).toEqual(['running 0']);
    await gapsFilled();
  });

  it('(a mutant that takes the xmax of its snapshot for the horizon misses that event)', async () => {
    await schema.mutate('see_incoming', xmaxForTheHorizon);
    expect(await missesForGood('running', runsBeyondTheSnapshot)).toBe(true);
  });

  /** The first to begin is the last to publish. */
  async function oldTransactionPublishesLast(): Promise<void> {
    const old = await begun();
    await old.query('SELECT pg_current_xact_id()');
    const young = await begun();
    await young.query('SELECT pg_advisory_xact_lock(1)');
    await enqueue(young, 'first');
    await young.query('COMMIT');
    await old.query('SELECT pg_advisory_xact_lock(1)');
    await enqueue(old, 'second');
    await old.query('COMMIT');
    await until(async () => {
      await look();
      return (await log()).length === 2;
    }, 'both events');
  }

  it('what is published under one lock comes in the order of the commits, whatever the transactions’ ids', async () => {
    await oldTransactionPublishesLast();
    expect(await log()).toEqual(['first', 'second']);
  });

  it('(the usual filter, by the transactions’ ids, inverts them)', async () => {
    await schema.mutate('see_incoming', xminFilterSeen);
    await schema.mutate('take_incoming', xminFilterTaken);
    await oldTransactionPublishesLast();
    expect(await log()).toEqual(['second', 'first']);
  });

  it('an old transaction that publishes nothing holds nothing up', async () => {
    const old = await begun();
    await old.query('SELECT pg_current_xact_id()');
    await enqueue(await schema.client(), 'a');
    const rolledBack = await begun();
    await enqueue(rolledBack, 'never');
    await rolledBack.query('ROLLBACK');
    await enqueue(await schema.client(), 'b');
    await look();
    expect(await log()).toEqual(['a', 'b']);
    // It may be the old one's, for all that is known.
    expect(await gaps()).toBe(1);
    await old.query('COMMIT');
    await gapsFilled();
  });

  it('of a savepoint that was rolled back nothing comes, of the rest all', async () => {
    const client = await begun();
    await enqueue(client, 'a');
    await client.query('SAVEPOINT s');
    await enqueue(client, 'never');
    await client.query('ROLLBACK TO s');
    await enqueue(client, 'b');
    await look();
    expect(await log()).toEqual([]);
    await client.query('COMMIT');
    await look();
    expect(await log()).toEqual(['a', 'b']);
    await gapsFilled();
  });

  it('what was committed before a publish comes before it, however many numbers lie between that never come', async () => {
    const running = await begun();
    await enqueue(running, ...Array.from({ length: 1500 }, (_, n) => `later ${n}`));
    await enqueue(await schema.client(), 'first');
    await commit('second');
    expect(await log()).toEqual(['first', 'second']);
    await running.query('ROLLBACK');
  });

  it('what waits is moved by one look, however much it is', async () => {
    const ids = Array.from({ length: 2500 }, (_, n) => `e ${n}`);
    await enqueue(await schema.client(), ...ids);
    await look();
    expect(await log()).toEqual(ids);
  });
});
