import { wants } from '../plan.mjs';

/** Deliveries of one key come in publish order, one at a time; none overtakes one that is failing. */
export function* checkOrder(ledger, plans) {
  for (const plan of plans) {
    if (plan.order === 'none') continue;
    const keyOf = ({ key }) => (plan.order === 'total' ? '' : key);
    for (const stored of byKey(ledger, plan, keyOf).values()) {
      yield* checkOvertaking(ledger, plan, stored);
      yield* checkSequence(ledger, plan, stored);
    }
  }
}

function byKey(ledger, plan, keyOf) {
  const keys = new Map();
  for (const stored of ledger.byId.values()) {
    if (!wants(plan, stored)) continue;
    const of = keys.get(keyOf(stored));
    if (of) of.push(stored);
    else keys.set(keyOf(stored), [stored]);
  }
  return keys;
}

/** No attempt begins before every earlier event of the key has come to its end, or begins in one call with it. */
function* checkOvertaking(ledger, plan, stored) {
  let latest = { index: -1 };
  /** What came before the first event of each call that got several. */
  const beforeGroup = new Map();
  for (const { id, at } of stored) {
    const notes = ledger.notesOf(plan.name, id);
    for (const { kind, index, life, group, unsure, void: isVoid } of notes) {
      // Its event may have been lost with the power, and published again elsewhere.
      if (kind !== 'begin' || unsure || isVoid) continue;
      if (group !== undefined && !beforeGroup.has(group)) beforeGroup.set(group, latest);
      const before = beforeGroup.get(group) ?? latest;
      if (index < before.index) {
        yield { fault: 'inverted', rule: 'none overtakes', sub: plan.name, id, at, life, overtook: before.id };
        break;
      }
    }
    const end = notes.find((note) => !note.void && endsIt(plan, note.kind));
    // One that never ended is lost, which is told by another check.
    if (end && end.index > latest.index) latest = { index: end.index, id };
  }
}

/** A dead event that holds its key lets nothing pass. */
function endsIt(plan, kind) {
  return kind === 'ok' || kind === 'discard' || (kind === 'dead' && !plan.holds);
}

/** One at a time; and within one life, as long as it has what it had, positions of what was handled rise, but for what was redriven. */
function* checkSequence(ledger, plan, stored) {
  const sub = plan.name;
  const all = stored.flatMap(({ id, at }) => ledger.notesOf(sub, id).map((note) => ({ ...note, id, at })));
  all.sort((a, b) => a.index - b.index);
  const running = new Map();
  const last = new Map();
  const redriven = new Set();
  for (const { kind, id, at, group, life, t, unsure, void: isVoid } of all) {
    if (unsure || isVoid) continue;
    if (kind === 'redrive') redriven.add(id);
    if (kind === 'begin') {
      for (const [no, of] of running) if (isOver(ledger, of, { life, t })) running.delete(no);
      const other = [...running].find(([, of]) => group === undefined || of.life !== life || of.group !== group);
      if (other) yield { fault: 'inverted', rule: 'one at a time', sub, id, at, life, beside: other[0] };
      running.set(id, { group, life, t });
    } else running.delete(id);
    if (kind !== 'ok') continue;
    const member = ledger.memberOf({ life, t });
    const before = last.get(member) ?? 0;
    if (at < before && !redriven.has(id))
      yield { fault: 'inverted', rule: 'handled in order', sub, id, at, life, after: before };
    last.set(member, Math.max(before, at));
  }
}

/** Whether what an earlier life had begun was cut short: by its end, or because others have it now. */
function isOver(ledger, earlier, { life, t }) {
  if ((ledger.lost.get(earlier.life) ?? []).some(({ until }) => earlier.t <= until && until <= t)) return true;
  if (earlier.life === life) return false;
  return !ledger.shared || t >= ledger.life(earlier.life).aliveUs;
}
