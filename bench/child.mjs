// One measurement in a process of its own. The job comes as a message; the result goes back as one.
import { peers } from './peers/index.mjs';
import { suites } from './suites/index.mjs';

async function answer(job) {
  let message;
  try {
    const suite = await suites[job.suite]();
    const peer = await peers[job.peer].load();
    message = { result: (await suite.run(peer, job)) ?? {} };
  } catch (error) {
    message = { error: error?.stack ?? String(error) };
  }
  // What a peer leaves open must not keep the process alive.
  process.send(message, () => process.exit(0));
}

process.once('message', (job) => void answer(job));
