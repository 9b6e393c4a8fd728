import { setTimeout as sleep } from 'node:timers/promises';
import { dataOf, hashOf } from './events.mjs';
import { record } from './history.mjs';
import { optionsOf, plans, types, verdictOf } from './plan.mjs';
import { mixed } from './random.mjs';

/** The module under test: every plan a subscription, each attempt told to the history before and after it. */
export function moduleOf({ defineModule }, world) {
  return defineModule('crash', (m) => {
    m.dependsOn('watch');
    for (const plan of plans) {
      const target = plan.types.map((type) => world.definitions[type]);
      if (plan.batch) m.handleBatch(target, batchHandler(plan, world), optionsOf(plan));
      else m.handle(target, handlerOf(plan, world), optionsOf(plan));
    }
  });
}

function handlerOf(plan, world) {
  if (plan.pauseMs === 0 && !plan.effects) return (event, context) => conclude(plan, world, [event], context);
  return async (event, context) => {
    if (plan.gated) await world.gate;
    await pause(plan, event, context.attempt);
    if (plan.effects) await writeEffect(world, event, context);
    conclude(plan, world, [event], context);
  };
}

function batchHandler(plan, world) {
  return async (events, context) => {
    record({ op: 'batch', sub: plan.name, ids: events.map(({ id }) => id) });
    await pause(plan, events[0], context.attempt);
    conclude(plan, world, events, context);
  };
}

/** Some handlers end within the turn they began in, others later. */
async function pause(plan, { data }, attempt) {
  const ms = mixed(data.lot, attempt + 2000) % (plan.pauseMs + 1);
  if (ms > 0) await sleep(ms);
}

async function writeEffect({ statements }, { id }, { tx }) {
  if (statements.makeEffects) await tx.run(statements.makeEffects);
  await tx.run(statements.insertEffect, [id]);
}

/** Ends an attempt as the lots of its events decide, and says so first: the record is there when the acknowledgement is. */
function conclude(plan, world, events, context) {
  if (plan.joins) for (const event of events) join(plan, world, event, context);
  const verdicts = events.map(({ data }) => verdictOf(plan, data, context.attempt, world.life));
  const verdict = verdicts.find((one) => one !== 'ok') ?? 'ok';
  record({ op: 'end', sub: plan.name, ids: events.map(({ id }) => id), ok: verdict === 'ok', late: isLate(context) });
  if (verdict === 'give-up') context.giveUp('its lot is to be given up');
  if (verdict === 'fail') throw new Error('its lot is to fail');
}

/** Whether the attempt is over whatever its handler does: the deliveries are another process's. */
const isLate = ({ signal }) => signal.aborted || undefined;

/** Publishes a follow-up as part of the attempt. Its id is new each time: a second copy is not to be hidden by deduplication. */
function join(plan, { definitions, life }, { id: cause, subject, data }, context) {
  const brief = { lot: mixed(data.lot, 3000), life, scale: 0, cause };
  const event = definitions[types.follow](dataOf(brief), { subject, source: '/crash' });
  record({
    op: 'join',
    sub: plan.name,
    cause,
    event: { id: event.id, type: event.type, key: subject, hash: hashOf(event.data), ...brief },
  });
  context.publish(event);
}
