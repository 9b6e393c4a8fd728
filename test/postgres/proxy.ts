import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/**
 * Stands between clients and the server, and does wrong to one of them: the first that sends the text it waits for.
 *
 * States: `fair` → (misbehaveAt) → `waiting` → (the text was sent) → `fair`, with that one client's connection cut.
 */
export interface Proxy {
  /** The server's URL, by way of this. */
  readonly url: string;
  /**
   * `answer`: what was sent arrives, its answer does not, and the connection is cut once the server has given it.
   * `request`: what was sent does not arrive, and the connection is cut; the server believes that it still stands.
   */
  misbehaveAt(text: string, lost: 'answer' | 'request'): void;
  /** Swallows all that is sent either way on the connections there are, and cuts none; those that come are served fairly. */
  silence(): void;
  /** How often it has. */
  readonly misdeeds: number;
  close(): Promise<void>;
}

/** The end of an answer: ReadyForQuery, which is a `Z`, its length and a status. */
const READY = Buffer.from([0x5a, 0, 0, 0, 5]);

export async function startProxy(serverUrl: string): Promise<Proxy> {
  const target = new URL(serverUrl);
  const sockets = new Set<Socket>();
  let awaited: { readonly text: Buffer; readonly lost: 'answer' | 'request' } | null = null;
  let misdeeds = 0;
  let era = 0;

  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    let way: 'fair' | 'answer' | 'request' = 'fair';
    let answer = Buffer.alloc(0);
    const born = era;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      // What breaks here is meant to, or is somebody's end.
      socket.on('error', () => socket.destroy());
      socket.on('close', () => sockets.delete(socket));
    }
    client.on('data', (chunk: Buffer) => {
      if (born < era) return;
      if (awaited !== null && chunk.includes(awaited.text)) {
        way = awaited.lost;
        awaited = null;
        misdeeds++;
      }
      if (way === 'request') client.destroy();
      else upstream.write(chunk);
    });
    upstream.on('data', (chunk: Buffer) => {
      if (born < era) return;
      if (way === 'fair') client.write(chunk);
      if (way !== 'answer') return;
      answer = Buffer.concat([answer, chunk]);
      if (answer.includes(READY)) client.destroy();
    });
    upstream.on('close', () => {
      if (born === era) client.destroy();
    });
    client.on('close', () => {
      if (way !== 'request' && born === era) upstream.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(serverUrl);
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    get misdeeds() {
      return misdeeds;
    },
    misbehaveAt: (text, lost) => {
      awaited = { text: Buffer.from(text, 'latin1'), lost };
    },
    silence: () => void era++,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
