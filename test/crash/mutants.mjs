const subscription = 'engine/log/subscription.js';
const writer = 'engine/log/writer.js';
const thread = 'engines/sqlite/thread.js';

/**
 * Defects that the harness must find, each a change to the built JavaScript: `[file, what stands there, what is to]`.
 * The first ones are what can be done wrong in any such engine; the last ones stood in the source until the harness
 * found them.
 */
export const mutants = [
  {
    name: 'flush-removed',
    what: 'commits do not wait for the disk',
    mode: 'power',
    settings: { sync: 'off' },
    patches: [],
  },
  {
    name: 'settled-before-handled',
    what: 'what is handed out counts as settled',
    mode: 'kill',
    patches: [
      [
        subscription,
        'encodePlace(this.readUpTo, this.mark, this.openPositions())',
        'encodePlace(this.readUpTo, this.readUpTo, [])',
      ],
    ],
  },
  {
    name: 'attempts-not-counted',
    what: 'an attempt cut short by a crash leaves no trace',
    mode: 'kill',
    patches: [
      ['engine/log/state-codec.js', 'writer.number(attempts);', 'writer.number(0);'],
      [subscription, 'this.addReopened(row, 1, nowMs)', 'this.addReopened(row, 0, nowMs)'],
    ],
  },
  {
    name: 'held-keys-ignored',
    what: 'later events of a key pass one that is failing',
    mode: 'kill',
    patches: [
      ['engine/log/held-keys.js', 'return this.keys.has(key);', 'return false;'],
      ['engine/log/held-keys.js', 'return !waited || held.failing > 0 || held.holding > 0;', 'return false;'],
    ],
  },
  {
    name: 'two-of-a-key-at-once',
    what: 'two deliveries of one key run at once',
    mode: 'kill',
    patches: [['dispatch/runner.js', 'concurrency.perKey : 1)', 'concurrency.perKey : 2)']],
  },
  {
    name: 'no-deduplication',
    what: 'a publish that is repeated is stored again',
    mode: 'kill',
    patches: [
      ['engines/sqlite/deduplication.js', 'return hash53(source, id);', 'return Math.floor(Math.random() * 2 ** 53);'],
    ],
  },
  {
    name: 'join-torn',
    what: 'what a handler publishes is written before its acknowledgement, not with it',
    mode: 'kill',
    patches: [
      [
        subscription,
        "for (const delivery of deliveries) this.settle(delivery, { type: 'ack' }); await Promise.all(appended);",
        "await Promise.all(appended); for (const delivery of deliveries) this.settle(delivery, { type: 'ack' });",
      ],
    ],
  },
  {
    name: 'rows-not-removed',
    what: 'the acknowledgement of a repeated attempt is forgotten',
    mode: 'kill',
    patches: [[subscription, 'this.remove(delivery.position); this.freeKey(delivery);', 'this.freeKey(delivery);']],
  },
  {
    name: 'dead-letters-dropped',
    what: 'dead deliveries are not kept',
    mode: 'kill',
    patches: [
      [
        subscription,
        "this.put({ ...this.rowFor(delivery, 'dead'",
        "if (this.no < 0) this.put({ ...this.rowFor(delivery, 'dead'",
      ],
      [
        subscription,
        'this.freeKey(delivery); if (this.no',
        'this.remove(delivery.position); this.freeKey(delivery); if (this.no',
      ],
    ],
  },
  {
    name: 'flush-believed-again',
    what: 'a commit whose flush failed is tried again, and believed',
    mode: 'eio',
    patches: [
      [
        thread,
        "const error = storageError(thrown, 'committing');",
        `const error = storageError(thrown, 'committing');
         if (error.code === 'CARILLON_ENGINE_FAILED') {
           this.undo();
           database.exec('BEGIN IMMEDIATE');
           const again = commits.write(message);
           database.exec('COMMIT');
           return again;
         }`,
      ],
    ],
  },
  {
    name: 'full-is-failed',
    what: 'a full disk fails the engine',
    mode: 'enospc',
    patches: [
      [
        'engines/sqlite/sqlite-errors.js',
        "case FULL: return make('CARILLON_STORAGE_FULL');",
        "case FULL: return make('CARILLON_ENGINE_FAILED');",
      ],
    ],
  },
  {
    name: 'reserve-kept',
    what: 'the reserve is not given back when the disk is full',
    mode: 'enospc',
    patches: [
      ['engines/sqlite/reserve.js', 'rmSync(this.path, { force: true }); this.kept = false;', 'this.kept = false;'],
    ],
  },
  {
    name: 'never-resumes',
    what: 'each refusal puts off the next look for room',
    mode: 'enospc',
    patches: [['engines/sqlite/reserve.js', 'if (this.bytes === 0 || !this.kept) return;', '']],
  },
  {
    name: 'batch-overtaken',
    what: 'a publish made after a batch is appended before it',
    mode: 'kill',
    patches: [['bus/publisher.js', 'this.syncHandlers.hasForAny(events) ? await', 'true ? await']],
  },
  {
    name: 'begun-before-held',
    what: 'after a crash, what had its attempt counted goes before what waits',
    mode: 'kill',
    // It takes several crashes until deliveries of one key differ in what is counted.
    cyclesPerTrial: 50,
    patches: [
      [subscription, 'const waits = key !== null && (waiting.has(key) || failing.has(key));', 'const waits = false;'],
    ],
  },
  {
    name: 'transaction-hangs',
    what: 'what waited for a transaction whose flush failed is never told',
    mode: 'eio',
    patches: [[writer, 'if (this.failure) this.rejectAll(sent, this.failure); else', '']],
  },
];
