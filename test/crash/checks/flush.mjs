const FAILS_WITHIN_US = 1_000_000;
/** A publish this young when the process was killed may have had no time to be told. */
const TOLD_WITHIN_US = 100_000;

/** After a flush that failed nothing is acknowledged any more: what the disk says later proves nothing. */
export function* checkFlush(ledger) {
  for (const life of ledger.lives.values()) {
    if (!life.fault) continue;
    yield* checkFailure(life);
    for (const call of ledger.calls.values()) if (call.life === life.no) yield* checkCall(life, call);
  }
}

function* checkFailure({ no: life, fault, failed, struck, ended }) {
  if (failed) {
    const lateUs = failed.t - fault.t;
    if (lateUs > FAILS_WITHIN_US) yield { fault: 'broken', rule: 'fails within 1 s of the flush', life, lateUs };
    if (failed.code !== 'CARILLON_ENGINE_FAILED')
      yield { fault: 'broken', rule: 'tells ENGINE_FAILED', life, code: failed.code };
  } else if (!ended && struck !== null && struck - fault.t > FAILS_WITHIN_US) {
    yield { fault: 'broken', rule: 'fails after a flush that failed', life };
  }
}

function* checkCall({ no: life, fault, failed, struck }, { outcome, index, t, events, code }) {
  const ids = events.map(({ id }) => id);
  if (outcome === 'ok' && index > fault.index) yield { fault: 'lost', rule: 'believes no later flush', ids, life };
  if (!failed) return;
  if (outcome === null && struck - t > TOLD_WITHIN_US)
    yield { fault: 'broken', rule: 'pending publishes reject', ids, life };
  if (outcome === 'no' && index > failed.index && code !== 'CARILLON_ENGINE_FAILED') {
    yield { fault: 'broken', rule: 'refuses with ENGINE_FAILED', ids, life, code };
  }
}
