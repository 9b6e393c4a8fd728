import { mixed } from './random.mjs';

/**
 * What the workload consists of, as data: event types, and subscriptions with their strategies. The process under test
 * wires it up; the checker judges by it. How an attempt ends is decided by the event alone (its `lot`), so that the
 * checker knows which events had to die.
 */
export const types = {
  work: 'crash.work',
  later: 'crash.later',
  follow: 'crash.follow',
  gated: 'crash.gated',
  audit: 'crash.audit',
};

/** Shares of the events that only some subscriptions ask for, by a filter on this attribute. */
export const parts = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];

const ATTEMPTS_MAX = 8;
const quickly = { kind: 'fixed', delayMs: 4, attemptsMax: ATTEMPTS_MAX };

/**
 * `fails`, `poison` and `givesUp` are shares of a thousand: events whose first attempts fail, whose every attempt fails,
 * and whose handler gives them up. `pauseMs` is the longest a handler takes; 0 makes it synchronous.
 */
export const plans = [
  {
    name: 'ordered',
    types: [types.work, types.later],
    fails: 60,
    poison: 3,
    givesUp: 3,
    pauseMs: 2,
    // Long enough for other events of the key to come while it is held back.
    options: { retry: { kind: 'fixed', delayMs: 25, attemptsMax: ATTEMPTS_MAX } },
  },
  {
    name: 'loose',
    types: [types.work, types.later],
    fails: 30,
    poison: 3,
    givesUp: 3,
    pauseMs: 4,
    options: {
      order: 'none',
      concurrency: 8,
      retry: { kind: 'exponential', initialMs: 4, maxMs: 40, attemptsMax: ATTEMPTS_MAX },
    },
  },
  {
    name: 'total',
    types: [types.work],
    fails: 6,
    poison: 0,
    givesUp: 1,
    pauseMs: 0,
    options: { order: 'total', retry: { kind: 'fixed', delayMs: 2, attemptsMax: ATTEMPTS_MAX } },
  },
  {
    name: 'slow',
    types: [types.work],
    part: 'a',
    fails: 20,
    poison: 4,
    givesUp: 0,
    pauseMs: 10,
    options: { concurrency: 4 },
  },
  {
    name: 'batched',
    types: [types.work],
    part: 'b',
    fails: 15,
    poison: 2,
    givesUp: 0,
    pauseMs: 2,
    batch: true,
    options: { batch: { size: 8, waitMs: 1 }, concurrency: 4 },
  },
  {
    name: 'joiner',
    types: [types.work],
    part: 'c',
    fails: 40,
    poison: 2,
    givesUp: 2,
    pauseMs: 1,
    joins: true,
    options: {},
  },
  {
    name: 'holding',
    types: [types.work],
    part: 'd',
    fails: 20,
    poison: 0,
    givesUp: 25,
    pauseMs: 1,
    options: { onDead: 'hold', concurrency: { all: 8 } },
  },
  {
    name: 'effects',
    types: [types.work],
    part: 'e',
    fails: 30,
    poison: 2,
    givesUp: 2,
    pauseMs: 0,
    effects: true,
    options: { transaction: true },
  },
  {
    name: 'posting',
    types: [types.work],
    part: 'f',
    fails: 30,
    poison: 2,
    givesUp: 2,
    pauseMs: 20,
    joins: true,
    effects: true,
    options: { transaction: true },
  },
  { name: 'follows', types: [types.follow], fails: 20, poison: 2, givesUp: 0, pauseMs: 0, options: {} },
  {
    name: 'gated',
    types: [types.gated],
    fails: 50,
    poison: 0,
    givesUp: 100,
    pauseMs: 1,
    gated: true,
    options: { order: 'none', concurrency: 64 },
  },
].map((plan, salt) => ({ order: plan.options.order ?? 'key', holds: plan.options.onDead === 'hold', ...plan, salt }));

export function optionsOf({ name, part, options }) {
  const filter = part === undefined ? {} : { filter: { exact: { part } } };
  return { name, from: 'beginning', retry: quickly, ...filter, ...options };
}

export const attemptsMaxOf = ({ options }) => (options.retry ?? quickly).attemptsMax;

export function wants(plan, { type, part }) {
  return plan.types.includes(type) && (plan.part === undefined || plan.part === part);
}

/** What an attempt comes to: `ok`, `fail` or `give-up`. In a holding subscription only the life that published an event gives it up. */
export function verdictOf(plan, { lot, life }, attempt, nowLife) {
  const chance = mixed(lot, plan.salt) % 1000;
  if (chance < plan.fails) return attempt <= 1 + (lot % 2) ? 'fail' : 'ok';
  if (chance < plan.fails + plan.poison) return 'fail';
  if (chance < plan.fails + plan.poison + plan.givesUp) return plan.holds && nowLife !== life ? 'ok' : 'give-up';
  return 'ok';
}

/** Whether the event may be dead in this subscription although attempts are left, or whatever is tried. */
export function mayDie(plan, event) {
  const chance = mixed(event.lot, plan.salt) % 1000;
  return chance >= plan.fails && chance < plan.fails + plan.poison + plan.givesUp;
}
