import { hashOf } from './events.mjs';
import { record } from './history.mjs';

/** Tells the history what the bus says of itself: attempts that begin, results that handlers do not see, failures. */
export function observe(bus) {
  bus.observe((observation) => {
    switch (observation.kind) {
      case 'delivery-start': {
        const { subscription, stored, attempt } = observation;
        const { id, data } = stored.event;
        record({ op: 'begin', sub: shortOf(subscription), id, at: stored.position, attempt, hash: hashOf(data) });
        return;
      }
      case 'delivery-end':
        return tellEnd(observation);
      case 'engine-failed':
        return record({ op: 'engine-failed', code: observation.error.code, message: observation.error.message });
      case 'storage-full':
        return record({ op: 'storage-full', full: observation.full });
    }
  });
}

function tellEnd({ subscription, stored, outcome, error }) {
  if (outcome === 'handled') return;
  const { id } = stored.event;
  record({ op: outcome, sub: shortOf(subscription), id, at: stored.position, why: error?.message });
}

const shortOf = (subscription) => subscription.slice(subscription.indexOf('.') + 1);
