// The floor of durability: lines of JSON appended to a file, fdatasync after each group, through the thread pool.
import { fdatasync, open, write } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventOf } from '../workload.mjs';

export const durability =
  'fdatasync before each publish resolves (group commit); no index, no deduplication, no reader';

/** A publish that resolves when the event's line is on the disk. */
export async function openLog({ directory }) {
  const fd = await promisify(open)(join(directory, 'events.ndjson'), 'a');
  let lines = [];
  let waiting = [];
  let busy = false;
  let position = 0;

  function flush() {
    const group = waiting;
    const text = lines.join('');
    waiting = [];
    lines = [];
    const settle = (error) => {
      busy = false;
      if (waiting.length > 0) start();
      for (const { resolve, reject } of group) {
        if (error) reject(error);
        else resolve(++position);
      }
    };
    const bytes = Buffer.from(text);
    write(fd, bytes, 0, bytes.length, null, (error, written) => {
      if (error || written !== bytes.length) settle(error ?? new Error('short write'));
      else fdatasync(fd, settle);
    });
  }

  function start() {
    busy = true;
    setImmediate(flush);
  }

  return {
    publish(n) {
      return new Promise((resolve, reject) => {
        lines.push(`${JSON.stringify(eventOf(n))}\n`);
        waiting.push({ resolve, reject });
        if (!busy) start();
      });
    },
    close() {},
  };
}

/** For the latency floor: what is durable counts as handled. */
export async function openQueue({ directory, handle }) {
  const log = await openLog({ directory });
  return {
    async publishOne(n) {
      await log.publish(n);
      handle(n);
    },
    close() {},
  };
}
