// The process under test. Its task is the first line of its input; what it does it tells on the history pipe.
import { createInterface } from 'node:readline';
import { load } from './engines.mjs';
import { moduleOf } from './handlers.mjs';
import { record } from './history.mjs';
import { observe } from './observer.mjs';
import { types } from './plan.mjs';
import { verify } from './verify.mjs';
import { telling } from './telling-log.mjs';
import { work } from './work.mjs';

const commands = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const task = JSON.parse((await commands.next()).value);

const { carillon, statements, open } = await load(task.dist, task.engine);
const definitions = Object.fromEntries(
  Object.values(types).map((type) => [type, carillon.defineEvent(type, { data: carillon.typed?.() })]),
);
const world = { definitions, statements, life: task.life, gate: null, openGate: () => undefined };
if (task.gated) world.gate = new Promise((resolve) => (world.openGate = resolve));

/** The bus, with observers from before its first delivery: modules are started by then, so theirs come through a hook. */
async function start() {
  const watch = carillon.defineModule('watch', (m) => m.onStart(({ bus }) => observe(bus)));
  const { engine, application } = open(task);
  world.application = application;
  const modules = [watch, moduleOf(carillon, world)];
  return await carillon.createBus({ engine, modules, worker: `life ${task.life}`, log: telling });
}

try {
  const bus = await start();
  record({ op: 'ready' });
  await (task.role === 'verify' ? verify(bus, world, task) : work(bus, world, task, commands));
} catch (error) {
  record({ op: 'ended', code: error.code ?? error.name, message: error.stack });
}
process.exit(0);
