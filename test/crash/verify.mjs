import { setTimeout as sleep } from 'node:timers/promises';
import { hashOf } from './events.mjs';
import { record } from './history.mjs';
import { plans, types } from './plan.mjs';
import { Publisher } from './publisher.mjs';

const IDLE_WITHIN_MS = 60_000;
const SCHEDULED_WITHIN_MS = 10_000;
const PAGE = 500;
const AGAIN_MS = 50;
/** A lease after the start of a server nobody is taken for dead. */
const ALONE_WITHIN_MS = 30_000;

/** Without any fault: lets everything come to its end, tells how each subscription and the log stand, and stops cleanly. */
export async function verify(bus, world, task) {
  const publisher = new Publisher(bus, world.definitions, world.application);
  if (world.application && !(await world.application.alone(ALONE_WITHIN_MS))) {
    record({ op: 'broken', what: `what dead processes had is taken over within ${ALONE_WITHIN_MS} ms` });
  }
  await Promise.all(task.again.map((call) => publisher.publish(call)));
  while (publisher.refused.length > 0 && !(await publisher.repeatRefused())) await sleep(AGAIN_MS);
  await scheduledAppended(bus, new Set(task.scheduled));
  await idle(bus, ({ name, held }) => held === 0 || holds(name));
  await redriveHolding(bus);
  await idle(bus, ({ held }) => held === 0);
  await tellEffects(bus, world, publisher);
  await idle(bus, ({ held }) => held === 0);
  await tellLetters(bus);
  await tellLog(bus);
  for (const state of await bus.subscriptions()) record({ op: 'state', ...pendingOf(state) });
  await bus.stop();
  record({ op: 'stopped' });
}

const holds = (name) => plans.some((plan) => plan.holds && `crash.${plan.name}` === name);

const pendingOf = ({ name, lag, running, waiting, retrying, held, dead, stalled }) => ({
  sub: name.replace('crash.', ''),
  lag,
  running,
  waiting,
  retrying,
  held,
  dead,
  stalled,
});

/** Waits until nothing is left to do. What is not done in time is told by the states at the end. */
async function idle(bus, heldIsFine) {
  const endsAt = Date.now() + IDLE_WITHIN_MS;
  for (;;) {
    const states = await bus.subscriptions();
    const busy = states.filter((one) => one.lag + one.running + one.waiting + one.retrying > 0 || !heldIsFine(one));
    if (busy.length === 0 || Date.now() > endsAt) return;
    await sleep(10);
  }
}

/** Waits until the log has the scheduled events that were acknowledged. What is not there in time is found to be lost. */
async function scheduledAppended(bus, wanted) {
  const endsAt = Date.now() + SCHEDULED_WITHIN_MS;
  for (let after = 0; wanted.size > 0 && Date.now() < endsAt; ) {
    const { events, next } = await bus.readPage({ type: types.later, after, limit: PAGE });
    for (const { event } of events) wanted.delete(event.id);
    after = next ?? events.at(-1)?.position ?? after;
    if (next === null) await sleep(20);
  }
}

async function redriveHolding(bus) {
  for (const plan of plans.filter((one) => one.holds)) {
    const subscription = `crash.${plan.name}`;
    for (const { event, position } of await lettersOf(bus, subscription)) {
      record({ op: 'redrive', sub: plan.name, id: event.id, at: position });
    }
    await bus.deadLetters.redrive({ subscription });
  }
}

/** What handlers wrote to the engine's database themselves, read by a handler, since only one has a transaction. */
async function tellEffects(bus, { definitions, statements, application, life }, publisher) {
  const { promise, resolve } = withResolvers();
  const read = async (_event, { tx }) => {
    if (statements.makeEffects) await tx.run(statements.makeEffects);
    resolve(await tx.all('SELECT event, count(*) AS times FROM crash_effects GROUP BY event'));
  };
  const options = { name: 'audit', from: 'now', transaction: true };
  const handle = await bus.subscribe(definitions[types.audit], read, options);
  await publisher.publish({
    events: [{ id: `audit-${life}`, type: types.audit, key: 'audit', lot: 0, life, scale: 1 }],
  });
  for (const { event, times } of await promise) record({ op: 'effect', id: event, times: Number(times) });
  await handle.stop();
  for (const id of (await application?.orders()) ?? []) record({ op: 'order', id });
}

function withResolvers() {
  let resolve;
  const promise = new Promise((given) => (resolve = given));
  return { promise, resolve };
}

async function lettersOf(bus, subscription) {
  const letters = [];
  for (let after = 0; ; after = letters.at(-1).position) {
    const page = await bus.deadLetters.list({ subscription, after, limit: PAGE });
    letters.push(...page);
    if (page.length < PAGE) return letters;
  }
}

async function tellLetters(bus) {
  for (const { name } of plans) {
    for (const { event, position, attemptCount } of await lettersOf(bus, `crash.${name}`)) {
      record({ op: 'letter', sub: name, id: event.id, at: position, attempts: attemptCount });
    }
  }
}

async function tellLog(bus) {
  for await (const { position, recordedMs, event } of bus.read()) {
    const { id, type, subject, part, data, causationid } = event;
    record({
      op: 'log',
      at: position,
      ms: recordedMs,
      id,
      type,
      key: subject,
      part,
      hash: hashOf(data),
      cause: causationid,
    });
  }
}
