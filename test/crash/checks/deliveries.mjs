import { attemptsMaxOf, mayDie, wants } from '../plan.mjs';

/** Every event in the log comes to exactly one end in each subscription that asks for it, within its attempts. */
export function* checkDeliveries(ledger, plans) {
  for (const plan of plans) {
    for (const stored of ledger.byId.values()) {
      if (wants(plan, stored)) yield* checkEnd(ledger, plan, stored);
    }
    for (const [id, notes] of ledger.deliveries.get(plan.name) ?? []) {
      yield* checkHanded(ledger, plan, id, notes);
      yield* checkAttempts(plan, id, notes);
    }
    yield* checkState(ledger, plan);
  }
}

function* checkEnd(ledger, plan, { id, at }) {
  const sub = plan.name;
  const notes = ledger.notesOf(sub, id);
  const letter = ledger.letters.get(`${sub}/${id}`);
  const handled = notes.some(({ kind }) => kind === 'ok');
  const discarded = notes.some(({ kind }) => kind === 'discard');
  if (letter) {
    const event = ledger.events.get(id);
    const exhausted = letter.attempts >= attemptsMaxOf(plan);
    if (!exhausted && event && !mayDie(plan, event)) yield { fault: 'lost', rule: 'dies of a cause', sub, id, at };
  } else if (!handled && !discarded) yield { fault: 'lost', rule: 'handled, dead or waiting', sub, id, at };
}

function* checkHanded({ byId, events }, plan, id, notes) {
  const sub = plan.name;
  const event = events.get(id);
  // What was handed out while the power was cut may be gone with its event, or stand elsewhere once published again.
  const begin = notes.find(({ kind, unsure }) => kind === 'begin' && !unsure);
  if (!begin) return;
  if (!event) yield { fault: 'phantom', rule: 'only what was published is delivered', sub, id, at: begin.at };
  else {
    // What a handler publishes has no attributes beyond those the checker needs.
    if (!wants(plan, byId.get(id) ?? event))
      yield { fault: 'phantom', rule: 'only what is asked for is delivered', sub, id };
    for (const { kind, hash, at } of notes) {
      if (kind === 'begin' && hash !== event.hash)
        yield { fault: 'phantom', rule: 'delivered as published', sub, id, at };
    }
  }
  const stored = byId.get(id);
  if (!stored) yield { fault: 'lost', rule: 'what was delivered is in the log', sub, id, at: begin.at };
  else if (stored.at !== begin.at)
    yield { fault: 'phantom', rule: 'delivered from where it is stored', sub, id, at: begin.at };
}

/** Attempts are counted before the handler runs, whatever is killed after that, and there are no more than allowed. */
function* checkAttempts(plan, id, notes) {
  const sub = plan.name;
  let before = 0;
  for (const { kind, attempt, at, life, group, unsure, void: isVoid } of notes) {
    if (kind === 'redrive') before = 0;
    if (kind !== 'begin' || isVoid) continue;
    if (attempt <= before)
      yield { fault: 'duplicatesBeyondInFlight', rule: 'an attempt counts', sub, id, at, life, attempt };
    if (attempt > attemptsMaxOf(plan)) {
      yield { fault: 'duplicatesBeyondInFlight', rule: 'no more attempts than allowed', sub, id, at, life, attempt };
    }
    if (unsure) continue;
    // A batch that fails counts for the first event of each key; the others go back as if they had not been in it.
    before = group === undefined ? attempt : attempt - 1;
  }
}

/** After everything had time to end, nothing waits. */
function* checkState({ states }, { name: sub }) {
  const state = states.get(sub);
  if (!state) return;
  const { lag, running, waiting, retrying, held } = state;
  if (lag + running + waiting + retrying + held > 0) {
    yield { fault: 'lost', rule: 'comes to its end', sub, lag, running, waiting, retrying, held };
  }
}
