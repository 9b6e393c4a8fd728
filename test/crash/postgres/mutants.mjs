const transaction = 'engines/postgres/transaction.js';
const store = 'engines/postgres/store.js';
const log = 'engines/postgres/sql/0001.sql';
const commit = 'engines/postgres/sql/0002.sql';
/** Each cycle takes seconds. */
const cyclesMax = 20;

/**
 * Defects of the PostgreSQL engine that the harness must find, in the form of ../mutants.mjs. The last ones stood in the
 * source until the harness found them.
 */
export const mutants = [
  {
    name: 'gaps-forgotten',
    what: 'a number that is not visible yet counts as rolled back',
    mode: 'kill',
    patches: [
      [
        'postgres/sql/sequencing.sql',
        'WHERE gap <> ALL (taken) AND (seen IS NULL OR seen > ended OR gap = ANY (nos))',
        'WHERE false',
      ],
    ],
  },
  {
    name: 'commits-not-fenced',
    what: 'who was taken for dead goes on committing',
    mode: 'kill',
    settings: { hangs: 1 },
    patches: [
      [commit, 'PERFORM assert_member(a_member, an_epoch);', 'NULL;'],
      [
        'engine/log/membership.js',
        'const alive = await this.sharing.renew();',
        'const alive = (await this.sharing.renew()) || true;',
      ],
    ],
  },
  {
    name: 'lease-ignored',
    what: 'a process goes on handling when its lease is over',
    mode: 'kill',
    settings: { hangs: 1 },
    patches: [
      [
        'engine/log/membership.js',
        "if (this.life === 'in' && this.sharing.clock.monotonic() < this.sureUntil)",
        'if (this.sureUntil > 0)',
      ],
    ],
  },
  {
    name: 'acknowledged-apart',
    what: 'the acknowledgement is committed after the transaction of its handler',
    mode: 'kill',
    patches: [
      [
        transaction,
        'const { result, id } = await this.write(batch);',
        `await this.connection.query('COMMIT');
         await this.connection.query('BEGIN');
         const { result, id } = await this.write(batch);`,
      ],
    ],
  },
  {
    name: 'repeated-under-new-ids',
    what: 'a commit whose answer was lost is made again as if its events were others',
    mode: 'terminate',
    patches: [
      [
        'engines/postgres/batch.js',
        'const numbers = rows.map(dedupeOf);',
        'const numbers = rows.map(() => -1 - Math.floor(Math.random() * 2 ** 52));',
      ],
    ],
  },
  {
    name: 'lost-answer-is-failure',
    what: 'a transaction whose COMMIT was not answered counts as rolled back',
    mode: 'terminate',
    patches: [[transaction, 'if (!(await this.wasCommitted(batch, id))) throw error;', 'throw error;']],
  },
  {
    name: 'lost-answer-is-success',
    what: 'a transaction whose COMMIT was not answered counts as committed',
    mode: 'restart',
    patches: [
      [
        transaction,
        'const { result, id } = await this.write(batch);',
        `const { result, id } = await this.write(batch).catch((error) => {
           if (error.code !== 'CARILLON_DATABASE_UNREACHABLE') throw error;
           return { result: commitResult(batch, { before: null, first: 0 }), id: '1' };
         });`,
      ],
      [transaction, 'if (!(await this.wasCommitted(batch, id))) throw error;', ''],
    ],
  },
  {
    name: 'publishes-outside',
    what: 'what is published in a transaction of the application is there although that is rolled back',
    mode: 'kill',
    patches: [
      [
        store,
        'this.outbox = new PostgresOutbox(options.schema);',
        `this.outbox = new PostgresOutbox(options.schema);
         const append = this.outbox.append.bind(this.outbox);
         const outside = { query: (text, values) => this.reader.run((connection) => connection.query({ text, values })) };
         this.outbox.append = (_tx, rows, dueMs) => append(outside, rows, dueMs);`,
      ],
    ],
  },
  {
    name: 'appends-without-lock',
    what: 'who appends does not wait for who appends',
    mode: 'kill',
    patches: [[log, "'SELECT pg_advisory_xact_lock(lock_class(), 0)'", "'SELECT'"]],
  },
  {
    name: 'two-of-a-key-at-once',
    what: 'two deliveries of one key run at once',
    mode: 'kill',
    patches: [['dispatch/runner.js', 'concurrency.perKey : 1)', 'concurrency.perKey : 2)']],
  },
  {
    name: 'rows-written-twice',
    what: 'a delivery put twice between two commits fails the engine',
    mode: 'kill',
    patches: [['engines/postgres/batch.js', 'some(lastOf(put, remove), deliveryJson)', 'some(put, deliveryJson)']],
  },
  {
    name: 'old-epoch-kept',
    what: 'a process that was taken for dead commits with the epoch of its old membership',
    mode: 'kill',
    settings: { hangs: 1 },
    patches: [[store, 'if (this.epochOf !== this.sharing.member)', 'if (this.epochOf < 0)']],
  },
].map((mutant) => ({ cyclesMax, ...mutant }));
