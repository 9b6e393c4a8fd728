import { describe, expect, it } from 'vitest';
import { carillonError } from '../../core/index.ts';
import type { Connection, Connector } from '../../postgres/index.ts';
import { Outage, Session } from './session.ts';

const unreachable = (): Error => carillonError('CARILLON_DATABASE_UNREACHABLE', 'h:1/d: gone');

class FakeConnection implements Connection {
  readonly processId: number | null = null;
  readonly pipelined = false;
  readonly no: number;
  state: 'open' | 'closed' | 'aborted' = 'open';
  breaks: (error: Error) => void = () => undefined;
  readonly broken: Promise<Error> = new Promise((resolve) => {
    this.breaks = resolve;
  });

  constructor(no: number) {
    this.no = no;
  }

  query: Connection['query'] = () => Promise.resolve({ rows: [], rowCount: 0 });
  onNotification: Connection['onNotification'] = () => undefined;
  close: Connection['close'] = async () => {
    this.state = 'closed';
  };
  abort: Connection['abort'] = () => {
    this.state = 'aborted';
  };
}

/** A database that refuses so many connections, then gives some. */
function fake({
  refusals = 0,
  prepare = () => Promise.resolve(),
}: {
  refusals?: number;
  prepare?: (no: number) => Promise<void>;
} = {}) {
  const made: FakeConnection[] = [];
  const told: (Error | null)[] = [];
  let left = refusals;
  let broken = 0;
  const connector: Connector = {
    label: 'h:1/d',
    connect: async () => {
      if (left-- > 0) throw unreachable();
      const connection = new FakeConnection(made.length + 1);
      made.push(connection);
      return connection;
    },
  };
  const outage = new Outage((reason) => told.push(reason));
  const session = new Session({
    connector,
    outage,
    prepare: (connection) => prepare((connection as FakeConnection).no),
    onBroken: () => broken++,
  });
  return { session, made, told, broken: () => broken };
}

const numberOf = (connection: Connection): Promise<number> => Promise.resolve((connection as FakeConnection).no);

describe('a session', () => {
  it('connects when it is needed, once, and does one thing after the other', async () => {
    const { session, made } = fake();
    expect(made).toEqual([]);
    const order: string[] = [];
    const work = (name: string) => async () => {
      order.push(`${name} begins`);
      await Promise.resolve();
      order.push(`${name} ends`);
    };
    await Promise.all([session.run(work('a')), session.run(work('b'))]);
    expect([made.length, order]).toEqual([1, ['a begins', 'a ends', 'b begins', 'b ends']]);
  });

  it('waits for a database that cannot be reached, and tells of its going and coming once', async () => {
    const { session, told } = fake({ refusals: 3 });
    expect(await session.run(numberOf)).toBe(1);
    expect(told.map((reason) => reason && (reason as { code?: string }).code)).toEqual([
      'CARILLON_DATABASE_UNREACHABLE',
      null,
    ]);
  });

  it('begins work again from the start, on a new connection, when the old one broke in the middle', async () => {
    const { session, made } = fake();
    const on: number[] = [];
    await session.run(async (connection) => {
      on.push(await numberOf(connection));
      if (on.length === 1) throw unreachable();
    });
    expect([on, made.map(({ state }) => state)]).toEqual([
      [1, 2],
      ['aborted', 'open'],
    ]);
  });

  it('fails with what the work failed of, and goes on with the next', async () => {
    const { session, made } = fake();
    await expect(session.run(() => Promise.reject(new Error('refused')))).rejects.toThrow('refused');
    expect(await session.run(numberOf)).toBe(1);
    expect(made.length).toBe(1);
  });

  it('gives up when its patience is at an end', async () => {
    const { session } = fake({ refusals: Infinity });
    await expect(session.run(numberOf, 0)).rejects.toMatchObject({ code: 'CARILLON_DATABASE_UNREACHABLE' });
    await session.close();
  });

  it('a connection that breaks by itself is told of, and replaced when it is needed', async () => {
    const { session, made, broken } = fake();
    await session.run(numberOf);
    made[0]?.breaks(unreachable());
    await new Promise((resolve) => setImmediate(resolve));
    expect([broken(), made.length]).toEqual([1, 1]);
    expect(await session.run(numberOf)).toBe(2);
  });

  it('one that cannot be made ready is closed', async () => {
    const { session, made } = fake({ prepare: (no) => (no === 1 ? Promise.reject(unreachable()) : Promise.resolve()) });
    expect(await session.run(numberOf)).toBe(2);
    expect(made.map(({ state }) => state)).toEqual(['closed', 'open']);
  });

  it('closing ends the wait for the database, and refuses what comes after', async () => {
    const { session } = fake({ refusals: Infinity });
    const waiting = session.run(numberOf);
    await new Promise((resolve) => setImmediate(resolve));
    const [outcome] = await Promise.allSettled([waiting, session.close()]);
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'CARILLON_STOPPED' } });
    await expect(session.run(numberOf)).rejects.toMatchObject({ code: 'CARILLON_STOPPED' });
  });

  it('closing waits for the work in hand', async () => {
    const { session, made } = fake();
    let end: () => void = () => undefined;
    const work = session.run(() => new Promise<void>((resolve) => (end = resolve)));
    await new Promise((resolve) => setImmediate(resolve));
    let closed = false;
    const closing = session.close().then(() => (closed = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect([closed, made[0]?.state]).toEqual([false, 'open']);
    end();
    await Promise.all([work, closing]);
    expect(made[0]?.state).toBe('closed');
  });

  it('killing waits for nothing', async () => {
    const { session, made } = fake();
    void session.run(() => new Promise<void>(() => undefined));
    await new Promise((resolve) => setImmediate(resolve));
    session.kill();
    expect(made[0]?.state).toBe('aborted');
  });
});
