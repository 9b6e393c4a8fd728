import { setTimeout as sleep } from 'node:timers/promises';
import { record } from './history.mjs';
import { plans, types } from './plan.mjs';
import { Producer, PRODUCERS } from './producers.mjs';
import { Publisher } from './publisher.mjs';
import { between, randomFrom } from './random.mjs';

const GATED = 40;
const REPEAT_MS = 50;
/** How long all clients of a pool are taken. */
const HOG_MS = [200, 1500];
/** Events that fill a disk in little time. */
const FILLING_SCALE = 60;

/** Publishes until it is killed, and does on the way what it is told to. */
export async function work(bus, world, task, commands) {
  const publisher = new Publisher(bus, world.definitions, world.application);
  await settleOldLetters(bus);
  // What the life before left unknown or refused is repeated, beside new events.
  void Promise.all(task.again.map((call) => publisher.publish(call)));
  const producers = Array.from({ length: PRODUCERS }, (_, no) => new Producer(no, { publisher, ...task }));
  for (const producer of producers) void producer.run();
  if (task.gated) await publishGated(publisher, task);
  void repeatForEver(publisher);
  for await (const command of commands) await steps[command]({ bus, world, task, publisher, producers });
}

/** Redrives most dead letters that hold back their key, and discards the others. */
async function settleOldLetters(bus) {
  for (const { name } of plans.filter(({ holds }) => holds)) {
    const subscription = `crash.${name}`;
    for (const letter of await bus.deadLetters.list({ subscription })) {
      const discards = letter.event.data.lot % 5 === 0;
      record({ op: discards ? 'discard' : 'redrive', sub: name, id: letter.event.id, at: letter.position });
      const selection = { subscription, positions: [letter.position] };
      await (discards ? bus.deadLetters.discard(selection) : bus.deadLetters.redrive(selection)).catch(unlessGone);
    }
  }
}

/** Another process that shares the log may have been faster. */
function unlessGone(error) {
  if (error.code !== 'CARILLON_DEAD_LETTER_UNKNOWN') throw error;
}

async function publishGated(publisher, { seed, life }) {
  const random = randomFrom(seed + life * 7);
  const brief = (no) => ({
    id: `${life}-gated-${no}`,
    type: types.gated,
    key: `g${no}`,
    lot: between(random, 0, 2 ** 30),
    life,
    scale: 1,
  });
  await Promise.all(Array.from({ length: GATED }, (_, no) => publisher.publish({ events: [brief(no)] })));
  record({ op: 'gated' });
}

async function repeatForEver(publisher) {
  for (;;) {
    await sleep(REPEAT_MS);
    if (publisher.refused.length > 0 && (await publisher.repeatRefused())) record({ op: 'resumed' });
  }
}

/** What the harness can ask for while the workload runs. */
const steps = {
  /** Takes leave of the processes that go on. */
  stop: async ({ bus, producers }) => {
    for (const producer of producers) producer.running = false;
    await bus.stop();
    record({ op: 'stopped' });
    process.exit(0);
  },

  /** The application keeps all the clients of its pool busy for a while. */
  hog: ({ world, task }) => world.application.hog(between(randomFrom(task.seed + task.life), ...HOG_MS)),

  /** Publishes large events until the disk is full. */
  fill: async ({ publisher, task }) => {
    const filler = new Producer(PRODUCERS, { publisher, ...task, scale: FILLING_SCALE });
    while (publisher.refused.length === 0) {
      await Promise.all(Array.from({ length: 16 }, () => publisher.publish({ events: [filler.brief()] })));
    }
  },

  /** On a full disk: lets handlers end that were waiting, then makes sure that their results are durable, and reads. */
  settle: async ({ bus, world }) => {
    world.openGate();
    await gatedEnded(bus);
    record({ op: 'settling' });
    // What was told to have ended is acknowledged a turn later.
    await sleep(1);
    const letters = await bus.deadLetters.list({ subscription: 'crash.gated', limit: GATED });
    record({ op: 'barrier' });
    const { events } = await bus.readPage({ type: types.gated, limit: GATED });
    record({ op: 'settled', letters: letters.length, read: events.length });
  },
};

async function gatedEnded(bus) {
  for (;;) {
    const state = (await bus.subscriptions()).find(({ name }) => name === 'crash.gated');
    if (state.running + state.waiting + state.retrying === 0 && state.lag === 0) return;
    await sleep(5);
  }
}
