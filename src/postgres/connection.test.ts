import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { EventEmitter, once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { isCarillonError } from '../core/index.ts';
import { connectorOf, type PgPool, type PgPoolClient, type PostgresDatabase } from './connection.ts';

const refusal = (database: unknown): unknown => {
  try {
    return connectorOf(database as PostgresDatabase);
  } catch (error) {
    return error;
  }
};

describe('the ways to name a database', () => {
  it.each([
    ['postgres://user:secret@db.example:6000/shop', 'db.example:6000/shop'],
    ['postgresql://db.example/shop', 'db.example:5432/shop'],
    [{ url: 'postgres://user:secret@db.example:6000/shop' }, 'db.example:6000/shop'],
    [
      { name: 'shop', host: 'db.example', port: 6000, user: 'u', password: 'secret', database: 'shop' },
      'db.example:6000/shop',
    ],
    [{ database: 'shop' }, '127.0.0.1:5432/shop'],
    [{ pool: { connect: () => Promise.reject(new Error('not used')) } }, 'the pool'],
  ])('%j is shown as %s', (database, label) => {
    expect(connectorOf(database as PostgresDatabase).label).toBe(label);
  });

  it.each([
    ['', 'must begin with postgres://'],
    ['mysql://user:secret@db.example/shop', 'must begin with postgres://'],
    ['postgres://user:secret@@@:x/shop', 'is not one'],
    ['postgres://user:secret@db.example:99999/shop', 'is not one'],
    [{ url: 5 }, 'must begin with postgres://'],
    [{}, '`database` must name one'],
    [{ database: '' }, '`database` must name one'],
    [{ database: 'shop', port: 0 }, 'port must be from 1 to 65535'],
    [{ database: 'shop', port: '5432' }, 'port must be from 1 to 65535'],
    [{ database: 'shop', host: 5 }, '`host` must be text'],
    [{ database: 'shop', user: {} }, '`user` must be text'],
    [{ database: 'shop', password: 12_345 }, '`password` must be text'],
    [{ database: 'shop', name: 1 }, '`name` must be text'],
    [{ database: 'shop', pasword: 'secret' }, 'there is no option `pasword`'],
    [{ pool: {} }, '`pool` must be a pool'],
    [{ pool: null }, '`pool` must be a pool'],
    [null, 'a database is a URL'],
  ])('%j is refused, and no password is shown', (database, what) => {
    const error = refusal(database);
    expect(isCarillonError(error, 'CARILLON_OPTION_INVALID')).toBe(true);
    const { message, stack, cause, details } = error as Error & { details: unknown };
    expect(message).toContain(what);
    expect(details).toEqual({ option: 'database' });
    expect(`${message}${stack}${String(cause)}${JSON.stringify(cause)}`).not.toMatch(/secret|12345/);
  });
});

describe('a connection', () => {
  let server: Server | undefined;
  afterEach(() => server?.close());

  /** A server that gives these answers, one for each thing that is said to it; then, and for null, it hangs up. */
  async function serverThat(...answers: (Buffer | null)[]): Promise<string> {
    server = createServer((socket: Socket) => {
      const left = [...answers];
      socket.on('error', () => undefined);
      socket.on('data', () => {
        const answer = left.shift() ?? null;
        if (answer) socket.write(answer);
        else socket.destroy();
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `postgres://u@127.0.0.1:${(server.address() as AddressInfo).port}/d`;
  }

  /** A message that asks the client to go on with its login. */
  function authentication(step: number, text: string): Buffer {
    const head = Buffer.from([0x52, 0, 0, 0, 8 + text.length, 0, 0, 0, step]);
    return Buffer.concat([head, Buffer.from(text, 'latin1')]);
  }

  it('that could not be made is closed: the server would wait for the rest of the login', async () => {
    const url = await serverThat(
      authentication(10, 'SCRAM-SHA-256\0\0'),
      authentication(11, 'r=nonce,s=c2FsdA==,i=4096'),
    );
    const closed = new Promise((resolve) => server?.once('connection', (socket) => socket.once('close', resolve)));
    await expect(connectorOf(url).connect()).rejects.toMatchObject({ code: 'CARILLON_DATABASE_LOGIN' });
    await closed;
  });

  it('is refused in words of the catalogue when the server goes away while it is made', async () => {
    const url = await serverThat(null);
    await expect(connectorOf(url).connect()).rejects.toMatchObject({ code: 'CARILLON_DATABASE_UNREACHABLE' });
  });

  class PoolClient implements PgPoolClient {
    readonly events = new EventEmitter();
    released: (boolean | Error | undefined)[] = [];
    query: (text: string, values?: unknown[]) => Promise<unknown> = () => Promise.resolve({ rows: [], rowCount: 0 });
    on(event: string, listener: (...args: never[]) => void): void {
      this.events.on(event, (...values: unknown[]) => listener(...(values as never[])));
    }
    release(destroy?: boolean | Error): void {
      this.released.push(destroy);
    }
  }

  const pooled = async () => {
    const client = new PoolClient();
    const pool: PgPool = { connect: () => Promise.resolve(client) };
    return { client, connection: await connectorOf({ pool }).connect() };
  };

  it('of a pool is destroyed when it is closed, once: what it was used for is nobody else’s', async () => {
    const { client, connection } = await pooled();
    await connection.close();
    await connection.close();
    expect(client.released).toEqual([true]);
  });

  it('tells once that it broke, and what is asked of it afterwards fails as unreachable', async () => {
    const { client, connection } = await pooled();
    client.events.emit('error', new Error('read ECONNRESET'));
    client.events.emit('end');
    expect(isCarillonError(await connection.broken, 'CARILLON_DATABASE_UNREACHABLE')).toBe(true);
    // Whatever the client says then, even as the server would.
    client.query = () => Promise.reject(Object.assign(new Error('x'), { severity: 'ERROR', code: '22012' }));
    await expect(connection.query('SELECT 1')).rejects.toMatchObject({ code: 'CARILLON_DATABASE_UNREACHABLE' });
  });

  it('whose close is not an end that breaks: nobody is told', async () => {
    const { client, connection } = await pooled();
    let told = false;
    void connection.broken.then(() => (told = true));
    await connection.close();
    client.events.emit('end');
    await new Promise((resolve) => setImmediate(resolve));
    expect(told).toBe(false);
  });

  it('gives what the server says of a statement as the server said it', async () => {
    const { client, connection } = await pooled();
    const said = Object.assign(new Error('division by zero'), { severity: 'ERROR', code: '22012' });
    client.query = () => Promise.reject(said);
    await expect(connection.query('SELECT 1/0')).rejects.toBe(said);
  });

  it('of a pool that has none is refused in words of the catalogue', async () => {
    const pool: PgPool = { connect: () => Promise.reject(new Error('timeout exceeded when trying to connect')) };
    await expect(connectorOf({ pool }).connect()).rejects.toMatchObject({
      code: 'CARILLON_DATABASE_UNREACHABLE',
      message: 'the pool: timeout exceeded when trying to connect',
    });
  });
});
