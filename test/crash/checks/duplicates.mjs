/** A handling that ended so long before the fault is acknowledged durably, whatever else happened. */
const SETTLED_AFTER_US = 1_000_000;
/** The same where several processes and a database server share the machine. */
const SETTLED_AFTER_SHARED_US = 3_000_000;
/**
 * Links of a chain of publishes, each begun after the one before it was acknowledged: more than two of them after an
 * end mean that a commit sent after that end is durable.
 */
const SETTLED_AFTER_EPOCHS = 3;

/** What was handled is not handled again, but for what was in flight at a fault. */
export function* checkDuplicates(ledger, plans) {
  for (const plan of plans) {
    for (const [id, all] of ledger.deliveries.get(plan.name) ?? []) {
      const notes = all.filter((note) => !note.void);
      yield* checkAgain(ledger, plan, id, notes);
      yield* checkOneEnd(ledger, plan, id, notes);
      yield* checkLeases(plan, id, all);
    }
  }
}

/** Whether the acknowledgement of this handling was durable when its life ended, or was taken for dead by the others. */
function isSettled(ledger, plan, { life: no, t, epoch, index }) {
  const life = ledger.life(no);
  const lostUs = ledger.lostAfter(no, t);
  if (lostUs === Infinity && life.barrier > index) return true;
  // Where transactions have connections of their own, their commits are not in one row with those of publishes.
  const inRow = !(ledger.shared && plan.effects);
  const links = life.epochsUs.slice(epoch).filter((us) => us < lostUs).length;
  if (inRow && links >= SETTLED_AFTER_EPOCHS) return true;
  const settledAfterUs = ledger.shared ? SETTLED_AFTER_SHARED_US : SETTLED_AFTER_US;
  return life.faultUs !== Infinity && life.faultUs - t > settledAfterUs;
}

/** Whether the handling was of this life, or of one that was alive to the others at that moment and so handed over what was settled. */
const isOf = (ledger, end, { life, t }) =>
  end.life === life ? ledger.lostAfter(life, end.t) > t : ledger.shared && t < ledger.life(end.life).aliveUs;

function* checkAgain(ledger, plan, id, notes) {
  const sub = plan.name;
  let ends = [];
  for (const note of notes) {
    if (note.kind === 'redrive') ends = [];
    else if (note.kind === 'ok') ends.push(note);
    else if (note.kind === 'begin') {
      const end = ends.find((one) => isOf(ledger, one, note) || isSettled(ledger, plan, one));
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

/** A process whose lease is over begins nothing until it has another. */
function* checkLeases({ name: sub }, id, notes) {
  for (const { kind, unleased, at, life } of notes) {
    if (kind === 'begin' && unleased)
      yield { fault: 'inverted', rule: 'begins nothing without a lease', sub, id, at, life };
  }
}

function* checkOneEnd(ledger, plan, id, notes) {
  const sub = plan.name;
  const letter = ledger.letters.get(`${sub}/${id}`);
  if (!letter) return;
  const redriven = notes.findLastIndex(({ kind }) => kind === 'redrive');
  const end = notes.findLast((note, at) => at > redriven && note.kind === 'ok');
  if (end && isSettled(ledger, plan, end)) {
    yield { fault: 'duplicatesBeyondInFlight', rule: 'handled or dead', sub, id, at: letter.at, life: end.life };
  }
}
