import { describe, expect, it } from 'vitest';
import { carillonError } from '../../core/index.ts';
import type { Connection, Connector } from '../../postgres/index.ts';
import { Outage, Session } from './session.ts';

const unreachable = (): Error => carillonError('CARILLON_DATABASE_UNREACHABLE', 'h:1/d: gone');
const readOnly = (): Error => carillonError('CARILLON_DATABASE_READ_ONLY', 'h:1/d: only reads');
const full = (): Error => carillonError('CARILLON_STORAGE_FULL', 'h:1/d: no space left');
const codesOf = (told: readonly (Error | null)[]): unknown[] =>
  told.map((reason) => reason && (reason as { code?: string }).code);

class FakeConnection implements Connection {
  readonly pipelined = false;
  readonly no: number;
  /** The values of what it was asked. */
  readonly asked: (readonly unknown[] | undefined)[] = [];
  state: 'open' | 'closed' | 'aborted' = 'open';
  breaks: (error: Error) => void = () => undefined;
  readonly broken: Promise<Error> = new Promise((resolve) => {
    this.breaks = resolve;
  });

  constructor(no: number) {
    this.no = no;
  }

  get processId(): number {
    return 1000 + this.no;
  }

  query: Connection['query'] = (query) => {
    this.asked.push(typeof query === 'string' ? undefined : query.values);
    return Promise.resolve({ rows: [], rowCount: 0 });
  };
  onNotification: Connection['onNotification'] = () => undefined;
  close: Connection['close'] = async () => {
    this.state = 'closed';
  };
  abort: Connection['abort'] = () => {
    this.state = 'aborted';
    this.breaks(unreachable());
  };
}

/** A database that refuses so many connections, then gives some. */
function fake({
  refusals = 0,
  refusal = unreachable,
  prepare = () => Promise.resolve(),
}: {
  refusals?: number;
  refusal?: () => Error;
  prepare?: (no: number) => Promise<void>;
} = {}) {
  const made: FakeConnection[] = [];
  const told: (Error | null)[] = [];
  let left = refusals;
  let broken = 0;
  let silent = 0;
  const connector: Connector = {
    label: 'h:1/d',
    connect: async () => {
      if (left-- > 0) throw refusal();
      const connection = new FakeConnection(made.length + 1);
      made.push(connection);
      return connection;
    },
  };
  const outage = new Outage((reason) => told.push(reason));
  const session = new Session({
    connector,
    outage,
    writes: true,
    prepare: (connection) => prepare((connection as FakeConnection).no),
    onBroken: () => broken++,
    onSilent: () => silent++,
  });
  return { session, outage, made, told, broken: () => broken, silent: () => silent };
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
    expect(codesOf(told)).toEqual(['CARILLON_DATABASE_UNREACHABLE', null]);
  });

  it('takes a login that is refused for a way that is closed now', async () => {
    const refusal = (): Error => carillonError('CARILLON_DATABASE_LOGIN', 'h:1/d: no entry in pg_hba.conf');
    const { session, told } = fake({ refusals: 2, refusal });
    expect(await session.run(numberOf)).toBe(1);
    expect(told[0]).toMatchObject({ code: 'CARILLON_DATABASE_UNREACHABLE', message: 'h:1/d: no entry in pg_hba.conf' });
  });

  it('looks for another server when this one only reads', async () => {
    const { session, made, told } = fake();
    const work = async (connection: Connection): Promise<number> => {
      const no = await numberOf(connection);
      if (no < 3) throw readOnly();
      return no;
    };
    expect(await session.run(work)).toBe(3);
    expect(made.map(({ state }) => state)).toEqual(['aborted', 'aborted', 'open']);
    expect(codesOf(told)).toEqual(['CARILLON_DATABASE_READ_ONLY', null]);
    await expect(session.run(() => Promise.reject(readOnly()), { ms: 0 })).rejects.toMatchObject({
      code: 'CARILLON_DATABASE_READ_ONLY',
    });
  });

  it('tells of a full disk, or waits it out on the same connection, as it is asked to', async () => {
    const { session, made, told } = fake();
    await expect(session.run(() => Promise.reject(full()))).rejects.toMatchObject({ code: 'CARILLON_STORAGE_FULL' });
    let refused = 0;
    const work = async (): Promise<string> => {
      if (refused++ < 2) throw full();
      return 'done';
    };
    expect(await session.run(work, { waitsOut: () => true })).toBe('done');
    expect([made.length, codesOf(told)]).toEqual([1, ['CARILLON_STORAGE_FULL', null]]);
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
    await expect(session.run(numberOf, { ms: 0 })).rejects.toMatchObject({ code: 'CARILLON_DATABASE_UNREACHABLE' });
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

  it('whose connection is silent takes another, and ends the process of the one before', async () => {
    const { session, made, silent } = fake();
    const swallowed = (connection: Connection): Promise<number> => {
      const { no, broken } = connection as FakeConnection;
      return no === 1 ? broken.then((error) => Promise.reject(error)) : numberOf(connection);
    };
    expect(await session.run(swallowed, { answerMs: 1 })).toBe(2);
    expect(made.map(({ state, asked }) => [state, asked])).toEqual([
      ['aborted', []],
      ['open', [[1001]]],
    ]);
    expect(silent()).toBe(1);
  });

  it('that is to end soon waits for the database no longer than it was told', async () => {
    const { session } = fake({ refusals: Infinity });
    const waiting = session.run(numberOf);
    session.endWithin(0);
    await expect(waiting).rejects.toMatchObject({ code: 'CARILLON_DATABASE_UNREACHABLE' });
  });

  it('that is to end soon cuts off what does not answer', async () => {
    const { session, made } = fake();
    const waiting = session.run((connection) => connection.broken.then((error) => Promise.reject(error)));
    await new Promise((resolve) => setImmediate(resolve));
    session.endWithin(0);
    await expect(waiting).rejects.toMatchObject({ code: 'CARILLON_DATABASE_UNREACHABLE' });
    expect(made.map(({ state }) => state)).toEqual(['aborted']);
  });

  it('killing waits for nothing', async () => {
    const { session, made } = fake();
    void session.run(() => new Promise<void>(() => undefined));
    await new Promise((resolve) => setImmediate(resolve));
    session.kill();
    expect(made[0]?.state).toBe('aborted');
  });
});

describe('an outage', () => {
  it('is told of once, and again when the reason is another', () => {
    const told: (Error | null)[] = [];
    const outage = new Outage((reason) => told.push(reason));
    for (const reason of [unreachable(), unreachable(), readOnly(), readOnly()]) outage.failed(reason);
    expect(codesOf(told)).toEqual(['CARILLON_DATABASE_UNREACHABLE', 'CARILLON_DATABASE_READ_ONLY']);
  });

  it('of writing is not over when reading goes well', () => {
    const told: (Error | null)[] = [];
    const outage = new Outage((reason) => told.push(reason));
    outage.failed(readOnly());
    outage.failed(readOnly());
    outage.over(false);
    expect(codesOf(told)).toEqual(['CARILLON_DATABASE_READ_ONLY']);
    outage.over(true);
    outage.over(true);
    expect(codesOf(told)).toEqual(['CARILLON_DATABASE_READ_ONLY', null]);
  });

  it('of the way to the database is over when anything goes well', () => {
    const told: (Error | null)[] = [];
    const outage = new Outage((reason) => told.push(reason));
    outage.failed(unreachable());
    outage.over(false);
    expect(codesOf(told)).toEqual(['CARILLON_DATABASE_UNREACHABLE', null]);
  });
});
