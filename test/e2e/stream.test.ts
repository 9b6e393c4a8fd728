import { describe, expect, it } from 'vitest';
import { carillonLines, cloudEvent, publish, startServer, temporaryDirectory, until } from './carillon-process.ts';

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index);

async function publishRange(url: string, from: number, to: number): Promise<void> {
  for (const n of range(from, to)) await publish(url, 'structured', [cloudEvent(String(n))]);
}

/** Reads ids off a stream until there are enough, or it breaks. */
async function readIds(url: string, enough: number, lastEventId?: string): Promise<string[]> {
  const abort = new AbortController();
  const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
  const response = await fetch(url, { headers, signal: abort.signal });
  const decoder = new TextDecoder();
  let text = '';
  const ids = (): string[] => [...text.matchAll(/^id: (\d+)\ndata: .+\n$/gm)].map(([, id]) => String(id));
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    if (ids().length >= enough) break;
  }
  abort.abort();
  return ids();
}

describe('GET /events/stream', () => {
  it('resumes behind Last-Event-ID across a kill -9, without a gap and without a double', async () => {
    const data = await temporaryDirectory();
    const first = await startServer(data);
    await publishRange(first.url, 1, 20);
    const seen = await readIds(`${first.url}/events/stream?from=beginning`, 12);
    await first.end('SIGKILL');

    const second = await startServer(data, { port: first.port });
    const more = publishRange(second.url, 21, 30);
    const total = 30 - seen.length;
    const rest = await readIds(`${second.url}/events/stream`, total, seen.at(-1));
    await more;
    expect([...seen, ...rest].map(Number)).toEqual(range(1, 30));
  });

  it('carillon tail --follow goes on across a restart, without a gap and without a double', async () => {
    const data = await temporaryDirectory();
    const first = await startServer(data);
    await publishRange(first.url, 1, 5);
    const lines = carillonLines(['tail', '--follow', '--after', '0', '--json', '--url', first.url]);
    await until(() => lines.length === 5);
    await first.end('SIGKILL');

    const second = await startServer(data, { port: first.port });
    await publishRange(second.url, 6, 15);
    await until(() => lines.length >= 15);
    expect(await second.end()).toBe(0);
    const third = await startServer(data, { port: first.port });
    await publishRange(third.url, 16, 20);
    await until(() => lines.length >= 20);
    expect(lines.map((line) => (JSON.parse(line) as { position: number }).position)).toEqual(range(1, 20));
  });
});
