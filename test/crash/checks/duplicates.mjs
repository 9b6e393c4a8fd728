/** A handling that ended so long before the fault is acknowledged durably, whatever else happened. */
const SETTLED_AFTER_US = 1_000_000;
/**
 * Links of a chain of publishes, each begun after the one before it was acknowledged: more than two of them after an
 * end mean that a commit sent after that end is durable.
 */
const SETTLED_AFTER_EPOCHS = 3;

/** What was handled is not handled again, but for what was in flight at a fault. */
export function* checkDuplicates(ledger, plans) {
  for (const { name: sub } of plans) {
    for (const [id, notes] of ledger.deliveries.get(sub) ?? []) {
      yield* checkAgain(ledger, sub, id, notes);
      yield* checkOneEnd(ledger, sub, id, notes);
    }
  }
}

/** Whether the acknowledgement of this handling was durable when its life ended. */
function isSettled(ledger, { life: no, t, epoch, index }) {
  const life = ledger.life(no);
  if (life.barrier > index || life.epoch - epoch >= SETTLED_AFTER_EPOCHS) return true;
  return life.faultUs !== Infinity && life.faultUs - t > SETTLED_AFTER_US;
}

function* checkAgain(ledger, sub, id, notes) {
  let ends = [];
  for (const note of notes) {
    if (note.kind === 'redrive') ends = [];
    else if (note.kind === 'ok') ends.push(note);
    else if (note.kind === 'begin') {
      const end = ends.find((one) => one.life === note.life || isSettled(ledger, one));
      if (!end) continue;
      const { life, at, attempt } = note;
      yield {
        fault: 'duplicatesBeyondInFlight',
        rule: 'handled once',
        sub,
        id,
        at,
        life,
        attempt,
        handledIn: end.life,
      };
    }
  }
}

function* checkOneEnd(ledger, sub, id, notes) {
  const letter = ledger.letters.get(`${sub}/${id}`);
  if (!letter) return;
  const redriven = notes.findLastIndex(({ kind }) => kind === 'redrive');
  const end = notes.findLast((note, at) => at > redriven && note.kind === 'ok');
  if (end && isSettled(ledger, end)) {
    yield { fault: 'duplicatesBeyondInFlight', rule: 'handled or dead', sub, id, at: letter.at, life: end.life };
  }
}
