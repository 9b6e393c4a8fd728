import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import {
  type Bus,
  type Clock,
  carillonError,
  type ReadQuery,
  silentLogger,
  type StoredEvent,
  toEvent,
} from '../core/index.ts';
import { resolveHttpLimits } from './limits.ts';
import { streamEvents } from './sse.ts';

const limits = resolveHttpLimits();

const storedAt = (position: number): StoredEvent => ({
  position,
  recordedMs: 0,
  event: toEvent({ specversion: '1.0', id: `e${position}`, source: '/test', type: 'test.happened' }),
});

/** Lets all that is ready run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A response whose socket is full when the test says so. */
class FakeResponse extends EventEmitter {
  readonly written: string[] = [];
  full = false;
  ended = false;
  destroyed = false;
  status = 0;
  writeHead(status: number): void {
    this.status = status;
  }
  write(text: string): boolean {
    this.written.push(text);
    return !this.full;
  }
  end(): void {
    this.ended = true;
  }
  destroy(): void {
    this.destroyed = true;
  }
}

/** Timers that fire when the test says so. */
function fakeClock() {
  const timers: { delayMs: number; run: () => void; cancelled: boolean }[] = [];
  const clock: Clock = {
    now: () => 0,
    monotonic: () => 0,
    defer: (run) => setImmediate(run),
    setTimer: (delayMs, run) => {
      const timer = { delayMs, run, cancelled: false };
      timers.push(timer);
      return { cancel: () => (timer.cancelled = true) };
    },
  };
  const fire = (delayMs: number): void => {
    const due = timers.filter((timer) => timer.delayMs === delayMs && !timer.cancelled);
    for (const timer of due) {
      timer.cancelled = true;
      timer.run();
    }
  };
  return { clock, fire, pending: () => timers.filter(({ cancelled }) => !cancelled).length };
}

interface Given {
  readonly after?: number;
  readonly ends?: { readonly first: number; readonly last: number };
  readonly full?: boolean;
}

function start(
  follow: (query: ReadQuery, signal: AbortSignal) => AsyncIterable<StoredEvent>,
  { after = 0, ends = { first: 1, last: 9 }, full = false }: Given = {},
) {
  const response = new FakeResponse();
  response.full = full;
  const time = fakeClock();
  const stop = new AbortController();
  const bus = { follow, ends: async () => ends } as unknown as Bus;
  const ended = streamEvents({
    bus,
    response: response as unknown as ServerResponse,
    query: { after },
    signal: stop.signal,
    clock: time.clock,
    limits,
    log: silentLogger,
  });
  return { response, time, stop, ended };
}

const frame = (position: number) =>
  `id: ${position}\ndata: {"specversion":"1.0","id":"e${position}","source":"/test","type":"test.happened"}\n\n`;

describe('streamEvents', () => {
  it('writes each event with its position as id', async () => {
    const { response, ended } = start(async function* () {
      yield storedAt(1);
      yield storedAt(3);
    });
    await ended;
    expect(response.status).toBe(200);
    expect(response.written).toEqual(['retry: 1000\n\n', frame(1), frame(3)]);
    expect(response.ended).toBe(true);
  });

  it('asks the bus for nothing more while the socket is full', async () => {
    let asked = 0;
    const { response, ended } = start(
      async function* () {
        for (asked = 1; asked <= 3; asked++) yield storedAt(asked);
      },
      { full: true },
    );
    await settled();
    expect(asked).toBe(0);
    response.emit('drain');
    await settled();
    expect([asked, response.written.at(-1)]).toEqual([1, frame(1)]);
    response.full = false;
    response.emit('drain');
    await ended;
    expect(response.written.slice(1)).toEqual([frame(1), frame(2), frame(3)]);
  });

  it('gives up a client that takes nothing for too long', async () => {
    const { response, time, ended } = start(
      async function* () {
        yield storedAt(1);
      },
      { full: true },
    );
    await settled();
    time.fire(limits.stallMs);
    await ended;
    expect(response.destroyed).toBe(true);
    expect(time.pending()).toBe(0);
  });

  it('sends heartbeats, but not into a full socket', async () => {
    const { response, time, stop, ended } = start(async function* (_query, signal) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      yield* [];
    });
    await settled();
    time.fire(limits.heartbeatMs);
    time.fire(limits.heartbeatMs);
    expect(response.written.slice(1)).toEqual([':\n\n', ':\n\n']);
    stop.abort();
    await ended;
    expect([response.ended, time.pending()]).toEqual([true, 0]);
  });

  it('tells a gap and goes on from the first position there is', async () => {
    const asked: (number | undefined)[] = [];
    const { response, ended } = start(
      async function* ({ after }) {
        asked.push(after);
        if (after === 2) throw carillonError('CARILLON_GAP', 'gone');
        yield storedAt(7);
      },
      { after: 2, ends: { first: 7, last: 7 } },
    );
    await ended;
    expect(asked).toEqual([2, 6]);
    expect(response.written.slice(1)).toEqual([
      'id: 6\nevent: gap\ndata: {"after":2,"first":7,"last":7}\n\n',
      frame(7),
    ]);
  });

  it('tells a gap when the log ends before the position asked for: it is another log', async () => {
    const { response, ended } = start(
      async function* () {
        yield storedAt(1);
      },
      { after: 50 },
    );
    await ended;
    expect(response.written.slice(1)).toEqual([
      'id: 0\nevent: gap\ndata: {"after":50,"first":1,"last":9}\n\n',
      frame(1),
    ]);
  });

  it('ends the stream when the bus fails, so that the client comes back', async () => {
    const { response, ended } = start(async function* () {
      yield* [];
      throw carillonError('CARILLON_ENGINE_FAILED', 'the disk is gone');
    });
    await ended;
    expect(response.ended).toBe(true);
  });

  it('leaves the bus when the client goes away', async () => {
    let left = false;
    const { response, stop, ended } = start(async function* () {
      try {
        for (let position = 1; ; position++) {
          response.full = position === 3;
          yield storedAt(position);
        }
      } finally {
        left = true;
      }
    });
    await settled();
    expect([left, response.written.length]).toEqual([false, 4]);
    stop.abort();
    await ended;
    expect([left, response.ended, response.listenerCount('drain')]).toEqual([true, true, 0]);
  });
});
