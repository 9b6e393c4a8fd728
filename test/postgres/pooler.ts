import { createServer, type AddressInfo, type Socket } from 'node:net';
import pg from 'pg';

/**
 * A pooler as PgBouncer is one, between clients and the server: a client has a session of the server for the length of a
 * transaction, or for as long as it is connected. Idle sessions are given out the last one used first.
 *
 * States of a client: `new` → (its login, which is granted) → `idle` ⇄ (a statement; the end of its transaction) `served`.
 */
export interface Pooler {
  readonly url: string;
  close(): Promise<void>;
}

const message = (tag: string, ...parts: readonly number[]): Buffer => {
  const body = Buffer.alloc(4 * parts.length + 5);
  body.write(tag);
  body.writeInt32BE(body.length - 1, 1);
  parts.forEach((part, index) => body.writeInt32BE(part, 5 + 4 * index));
  return body;
};
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
const [QUERY, SYNC, TERMINATE, READY_FOR_QUERY, IDLE] = [0x51, 0x53, 0x58, 0x5a, 0x49];

/** Cuts a stream into messages. */
function cutter(take: (tag: number, whole: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
      const end = rest.readInt32BE(1) + 1;
      const whole = rest.subarray(0, end);
      rest = rest.subarray(end);
      take(whole[0] as number, whole);
    }
  };
}

export async function startPooler(serverUrl: string, mode: 'transaction' | 'session'): Promise<Pooler> {
  const idle: Socket[] = [];
  const all = new Set<Socket>();
  const logins: pg.Client[] = [];

  /** A session of the server that has logged in; from then on only its bytes are used. */
  async function session(): Promise<Socket> {
    const free = idle.pop();
    if (free) return free;
    const login = new pg.Client(serverUrl);
    login.on('error', () => undefined);
    await login.connect();
    logins.push(login);
    const { stream } = (login as unknown as { connection: { stream: Socket } }).connection;
    stream.removeAllListeners('data');
    return stream;
  }

  function serve(client: Socket): void {
    let server: Socket | null = null;
    let waiting = 0;
    let turn = Promise.resolve();
    const release = (): void => {
      if (server) idle.push(server);
      server?.removeAllListeners('data');
      server = null;
    };
    const fromServer = cutter((tag, whole) => {
      client.write(whole);
      if (tag !== READY_FOR_QUERY) return;
      waiting--;
      if (mode === 'transaction' && waiting === 0 && whole[5] === IDLE) release();
    });
    const fromClient = cutter((tag, whole) => {
      turn = turn.then(async () => {
        if (tag === TERMINATE) return void client.end();
        if (!server) {
          server = await session();
          server.on('data', fromServer);
        }
        if (tag === QUERY || tag === SYNC) waiting++;
        server.write(whole);
      });
    });
    client.once('data', () => {
      // Whoever comes is let in, under a number of our own.
      client.write(Buffer.concat([message('R', 0), message('K', 4_000_000 + all.size, 1), READY]));
      client.on('data', fromClient);
    });
    // What it had begun is ended with its session, not handed to the next.
    client.on('close', () => void turn.then(() => server?.destroy()));
  }

  const listener = createServer((client) => {
    all.add(client);
    client.on('error', () => client.destroy());
    serve(client);
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const url = new URL(serverUrl);
  url.port = String((listener.address() as AddressInfo).port);
  return {
    url: url.href,
    close: async () => {
      for (const socket of all) socket.destroy();
      await Promise.all(logins.map((login) => login.end()));
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}
