import type { ServerResponse } from 'node:http';
import {
  type Bus,
  type Clock,
  formatEvent,
  isCarillonError,
  type Logger,
  type ReadQuery,
  type StoredEvent,
  toError,
} from '../core/index.ts';
import type { HttpLimits } from './limits.ts';

/** One client's stream of server-sent events (WHATWG HTML, section 9.2). */
export interface Stream {
  readonly bus: Bus;
  readonly response: ServerResponse;
  /** What passes; `after` is the position the stream starts behind. */
  readonly query: ReadQuery & { readonly after: number };
  /** Ends the stream. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly limits: HttpLimits;
  readonly log: Logger;
}

/** How long a client is asked to wait before it connects again, in ms. */
const RECONNECT_MS = 1_000;

/**
 * Writes the log from a position on, then what comes, until `signal` aborts or the client is gone. Each event's `id`
 * is its position, so that `Last-Event-ID` resumes without a gap and without a double. What retention has removed is
 * told as an event `gap`, and the stream goes on from the first position there is.
 *
 * Nothing is read from the bus while the client's socket is full: memory does not grow with a slow client.
 */
export async function streamEvents(stream: Stream): Promise<void> {
  const { response, signal, log } = stream;
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
  });
  const writer = createWriter(stream);
  try {
    await writer.write(`retry: ${RECONNECT_MS}\n\n`);
    await follow(stream, (text) => writer.write(text));
  } catch (error) {
    if (!signal.aborted) log.warn('an event stream has ended early', { error: toError(error).message });
  } finally {
    writer.release();
    response.end();
  }
}

async function follow(stream: Stream, write: (text: string) => Promise<void>): Promise<void> {
  const { bus, signal } = stream;
  let after = await skipImpossible(stream, write);
  while (!signal.aborted) {
    try {
      for await (const stored of bus.follow({ ...stream.query, after }, signal)) {
        await write(frameOf(stored));
        after = stored.position;
      }
      return;
    } catch (error) {
      if (signal.aborted || !isCarillonError(error, 'CARILLON_GAP')) throw error;
      after = await tellGap(stream, after, write);
    }
  }
}

/** A position that the log has not reached yet belongs to another log: this one was replaced. Told as a gap. */
async function skipImpossible(stream: Stream, write: (text: string) => Promise<void>): Promise<number> {
  const { after } = stream.query;
  const { last } = await stream.bus.ends();
  return after > last ? tellGap(stream, after, write) : after;
}

async function tellGap(stream: Stream, after: number, write: (text: string) => Promise<void>): Promise<number> {
  const { first, last } = await stream.bus.ends();
  const resume = Math.max(first - 1, 0);
  // The id makes a client that breaks off now resume behind the gap instead of meeting it again.
  await write(`id: ${resume}\nevent: gap\ndata: ${JSON.stringify({ after, first, last })}\n\n`);
  return resume;
}

/** JSON text holds no line break, so one data line is always enough. */
function frameOf({ position, event }: StoredEvent): string {
  return `id: ${position}\ndata: ${formatEvent(event)}\n\n`;
}

interface Writer {
  /** Resolves when the socket takes more. Rejects when the stream has ended or the client takes nothing for too long. */
  write(text: string): Promise<void>;
  release(): void;
}

function createWriter({ response, signal, clock, limits }: Stream): Writer {
  let full = false;
  const beat = (): void => {
    if (!full) response.write(':\n\n');
    heartbeat = clock.setTimer(limits.heartbeatMs, beat);
  };
  let heartbeat = clock.setTimer(limits.heartbeatMs, beat);

  const drained = (): Promise<void> =>
    new Promise((resolve, reject) => {
      full = true;
      const stalled = clock.setTimer(limits.stallMs, () => {
        settle();
        response.destroy();
        reject(new Error('the client takes nothing'));
      });
      const settle = (): void => {
        full = false;
        stalled.cancel();
        response.off('drain', onDrain);
        signal.removeEventListener('abort', onAbort);
      };
      const onDrain = (): void => {
        settle();
        resolve();
      };
      const onAbort = (): void => {
        settle();
        reject(new Error('the stream has ended'));
      };
      response.once('drain', onDrain);
      signal.addEventListener('abort', onAbort, { once: true });
    });

  return {
    write: async (text) => {
      if (signal.aborted) throw new Error('the stream has ended');
      if (!response.write(text)) await drained();
    },
    release: () => heartbeat.cancel(),
  };
}
