import { describe, expect, it } from 'vitest';
import { parseServerSentEvents } from './server-sent-events.ts';

async function* chunked(text: string, size: number): AsyncIterable<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const stream =
  'retry: 1000\n\n:\n\nid: 1\ndata: {"a":"grüß"}\n\nid: 2\nevent: gap\ndata: x\ndata:  y\n\nid: 3\n\ndata\n\ndata: cut off';

describe('parseServerSentEvents', () => {
  it.each([1, 2, 7, 1_000])('reads a stream that comes in pieces of %d bytes', async (size) => {
    const events = [];
    for await (const event of parseServerSentEvents(chunked(stream, size))) events.push(event);
    expect(events).toEqual([
      { id: '1', event: 'message', data: '{"a":"grüß"}' },
      { id: '2', event: 'gap', data: 'x\n y' },
      { id: '3', event: 'message', data: '' },
    ]);
  });
});
