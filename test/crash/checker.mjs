import { checkDeliveries } from './checks/deliveries.mjs';
import { checkDuplicates } from './checks/duplicates.mjs';
import { checkFlush } from './checks/flush.mjs';
import { checkFollowUps } from './checks/follow-ups.mjs';
import { checkLog } from './checks/log.mjs';
import { checkOrder } from './checks/order.mjs';
import { Ledger } from './ledger.mjs';

export const faults = ['lost', 'phantom', 'inverted', 'duplicatesBeyondInFlight'];

const checks = [checkLog, checkDeliveries, checkDuplicates, checkOrder, checkFollowUps, checkFlush];

/**
 * Judges the history of one data directory. Pure: the same records give the same verdict, whatever engine and fault
 * they come from. Each violation names its fault, the rule it breaks and the events concerned. `broken` counts promises
 * that are none of the four faults: a time limit, a wrong error.
 */
export function check(records, plans) {
  const ledger = new Ledger(records);
  const violations = checks.flatMap((one) => [...one(ledger, plans)]);
  for (const { life, what } of ledger.broken) violations.push({ fault: 'broken', rule: what, life });
  const count = (fault) => violations.filter((one) => one.fault === fault).length;
  return {
    sent: ledger.events.size,
    acked: [...ledger.events.values()].filter(({ calls }) => calls.some(({ outcome }) => outcome === 'ok')).length,
    delivered: [...ledger.deliveries.values()].reduce((sum, ofSub) => sum + ofSub.size, 0),
    attempts: records.reduce((sum, { op }) => sum + (op === 'begin' ? 1 : 0), 0),
    untried: [...ledger.letters.values()].filter((letter) => !wasTried(ledger, letter)).length,
    ...Object.fromEntries(faults.map((fault) => [fault, count(fault)])),
    broken: count('broken'),
    violations,
  };
}

/** Whether a handler ever saw what is dead: attempts are counted ahead, and crashes may use them up. */
function wasTried(ledger, { sub, id }) {
  return ledger.notesOf(sub, id).some(({ kind }) => kind === 'begin');
}
