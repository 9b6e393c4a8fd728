import { types, wants } from '../plan.mjs';

/** What a handler publishes or writes as part of its attempt is there exactly once for each event it handled. */
export function* checkFollowUps(ledger, plans) {
  const followUps = new Map();
  for (const { id, type, cause } of ledger.log) {
    if (type !== types.follow) continue;
    followUps.set(cause, (followUps.get(cause) ?? 0) + 1);
    const join = ledger.events.get(id)?.joins[0];
    if (join && join.ok === false)
      yield { fault: 'phantom', rule: 'what a failed attempt publishes is not stored', id, cause };
  }
  for (const plan of plans) {
    if (plan.joins) yield* checkCounts(ledger, plan, followUps, 'follow-up');
    if (plan.effects) yield* checkCounts(ledger, plan, ledger.effects, 'effect');
  }
}

function* checkCounts(ledger, plan, counts, what) {
  const sub = plan.name;
  for (const stored of ledger.byId.values()) {
    if (!wants(plan, stored)) continue;
    const { id, at } = stored;
    const expected = ledger.letters.has(`${sub}/${id}`) ? 0 : 1;
    const found = counts.get(id) ?? 0;
    if (found < expected) yield { fault: 'lost', rule: `each handled event has its ${what}`, sub, id, at };
    if (found > expected)
      yield { fault: 'duplicatesBeyondInFlight', rule: `no second ${what}`, sub, id, at, found, expected };
  }
}
