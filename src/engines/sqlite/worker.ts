import { parentPort, type MessagePort } from 'node:worker_threads';
import type { AnswerMessage, CallMessage } from './messages.ts';
import { plainError } from './sqlite-errors.ts';
import { StorageThread } from './thread.ts';

/** Entry of the thread: takes calls in order, one at a time, and answers each. */
const port = parentPort as MessagePort;
const storage = new StorageThread();

port.on('message', ({ no, name, ask }: CallMessage) => {
  try {
    const answer = storage.call(name, ask);
    port.postMessage({ no, answer } satisfies AnswerMessage);
  } catch (error) {
    port.postMessage({ no, error: plainError(error, name) } satisfies AnswerMessage);
  }
  storage.checkpoint();
});
