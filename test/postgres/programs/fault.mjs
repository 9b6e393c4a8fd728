// Ends the process by SIGKILL at a step of its work with the database. The steps are found from outside, by what the
// client of pg is asked to send: nothing of the engine knows of them.
import pg from 'pg';

/**
 * Steps by name: what is sent on which connection, and when the process is to end: `before` it is sent, once it is
 * `sent`, or once the server has `answered` and nobody knows yet.
 */
const steps = {
  'transaction begun': ['begin', 'answered'],
  'before the write': ['credit', 'before'],
  'after the write, before the acknowledgement': ['credit', 'answered'],
  'acknowledgement sent': ['acknowledge', 'sent'],
  'acknowledgement in the transaction, before COMMIT': ['acknowledge', 'answered'],
  'during COMMIT': ['commit', 'sent'],
  'after COMMIT, before the process knows': ['commit', 'answered'],
  'debit made, before its publish': ['publish', 'before'],
  'debit published, before its COMMIT': ['publish', 'answered'],
  'during the COMMIT of a debit': ['debit commit', 'sent'],
  'after the COMMIT of a debit, before the process knows': ['debit commit', 'answered'],
  'places and follow-ups sent': ['places', 'sent'],
  'places and follow-ups committed, before the process knows': ['places', 'answered'],
};

export const stepNames = Object.keys(steps);

/** What a handler comes to that commits on a connection of its own, not in the transaction it is handed. */
export const outsideStep = 'after a COMMIT outside, before the process knows';

/** What a query is, by its text; COMMIT by what the connection was asked before. */
function kindOf(client, { text, name }) {
  if (name === 'commit') return 'places';
  if (text.startsWith('BEGIN ISOLATION')) return 'begin';
  if (text.includes('balance = balance +')) return 'credit';
  if (text.includes('.enqueue(')) return 'publish';
  if (text.includes('pg_current_xact_id()::text AS id')) return 'acknowledge';
  if (text === 'COMMIT') return client.commits ?? 'commit';
  return null;
}

function die() {
  process.kill(process.pid, 'SIGKILL');
  for (;;);
}

/** @param nth which of the queries of that kind, from 1 */
export function dieAt(step, nth) {
  const [kind, moment] = step === outsideStep ? ['outside commit', 'answered'] : steps[step];
  let left = nth;
  const { query } = pg.Client.prototype;
  pg.Client.prototype.query = function (given, ...rest) {
    const config = typeof given === 'string' ? { text: given } : given;
    if (kindOf(this, config) !== kind || --left > 0) return query.call(this, given, ...rest);
    if (moment === 'before') die();
    const answered = query.call(this, given, ...rest);
    if (moment === 'sent') die();
    return answered.then(die);
  };
}
