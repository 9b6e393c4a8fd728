import { types } from '../plan.mjs';

/** Acknowledged ⊆ log ⊆ sent; each once, unchanged, where it was said to be, in the order it was published. */
export function* checkLog(ledger) {
  yield* checkStored(ledger);
  for (const event of ledger.events.values()) {
    if (event.joins.length === 0) yield* checkPublished(ledger, event);
  }
  yield* checkOrders(ledger);
  yield* checkBatches(ledger);
  yield* checkProducers(ledger);
}

function* checkStored({ log, events }) {
  const seen = new Set();
  let before = { at: 0, ms: 0 };
  for (const stored of log) {
    const { id, at, ms } = stored;
    if (at <= before.at) yield { fault: 'inverted', rule: 'positions rise', id, at, before: before.at };
    if (ms < before.ms) yield { fault: 'inverted', rule: 'recorded moments do not fall', id, at };
    before = stored;
    if (seen.has(id)) yield { fault: 'duplicatesBeyondInFlight', rule: 'one id is stored once', id, at };
    seen.add(id);
    yield* checkContents(events.get(id), stored);
  }
}

function* checkContents(event, { id, at, type, key, hash }) {
  if (!event) yield { fault: 'phantom', rule: 'only what was published is stored', id, at };
  else if (event.hash !== hash || event.type !== type || event.key !== key) {
    yield { fault: 'phantom', rule: 'what is stored is what was published', id, at };
  }
}

function* checkPublished({ byId }, { id, calls }) {
  const stored = byId.get(id);
  const acknowledged = calls.filter(({ outcome }) => outcome === 'ok');
  if (!stored) {
    if (acknowledged.length > 0)
      yield { fault: 'lost', rule: 'an acknowledged event is in the log', id, life: acknowledged[0].life };
    return;
  }
  for (const { results, events, life } of acknowledged) {
    const { position } = results[events.findIndex((one) => one.id === id)];
    if (position !== null && position !== stored.at) {
      yield { fault: 'phantom', rule: 'an event is where its publish said', id, at: stored.at, said: position, life };
    }
  }
  if (calls.every(({ rollsBack }) => rollsBack))
    yield { fault: 'phantom', rule: 'a rolled back event is not stored', id, at: stored.at };
  if (calls.every(isRefused)) yield { fault: 'phantom', rule: 'a refused event is not stored', id, at: stored.at };
}

/** Refused for certain, by a code that promises that nothing was stored. */
const isRefused = ({ outcome, code }) => outcome === 'no' && code === 'CARILLON_STORAGE_FULL';

/** What the application has written in the transaction it published in is there if its event is, and only then. */
function* checkOrders({ events, orders, byId }) {
  for (const { id, type, calls } of events.values()) {
    if (!calls.some(({ within }) => within) || type === types.later) continue;
    const isThere = byId.has(id);
    if (orders.has(id) === isThere) continue;
    if (isThere) yield { fault: 'phantom', rule: 'an event is not stored without the rows of its transaction', id };
    else yield { fault: 'lost', rule: 'an event is stored with the rows of its transaction', id };
  }
}

function* checkBatches({ calls, byId }) {
  for (const { batch, events, life } of calls.values()) {
    if (!batch) continue;
    const there = events.filter(({ id }) => byId.has(id)).length;
    if (there > 0 && there < events.length) {
      yield { fault: 'lost', rule: 'a batch is stored all or none', ids: events.map(({ id }) => id), life };
    }
  }
}

/** One producer's events of one key that went through at the first try stand in the log as they were published. */
function* checkProducers({ calls, byId }) {
  const last = new Map();
  for (const { outcome, results, events, scheduled, within, life } of calls.values()) {
    if (outcome !== 'ok' || scheduled || within) continue;
    for (const [index, { id, producer, key, life: own }] of events.entries()) {
      if (producer === undefined || own !== life || results[index].duplicate || !byId.has(id)) continue;
      const { at } = byId.get(id);
      const of = `${life}/${producer}/${key}`;
      if (at < (last.get(of) ?? 0))
        yield { fault: 'inverted', rule: 'stored in the order of publishing', id, at, life };
      last.set(of, at);
    }
  }
}
