import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBus } from '../../src/bus/index.ts';
import { isCarillonError, makeEvent, type CarillonError, type ErrorCode } from '../../src/core/index.ts';
import { postgres, type PostgresOptions } from '../../src/engines/postgres/index.ts';
import { memory } from '../../src/engines/memory/index.ts';
import { outboxRelay } from '../../src/sources/outbox/index.ts';
import { startPooler } from './pooler.ts';
import { freshDatabase, type FreshDatabase } from './fresh-database.ts';

const PASSWORD = 'open-sesame-42';

/** How a user meets the engine with something wrong: an error that says what, and what to do; never the password. */
describe('what is wrong with the database, as a user is told', () => {
  let database: FreshDatabase;
  let admin: pg.Client;
  const roles: string[] = [];

  beforeAll(async () => {
    database = await freshDatabase();
    admin = new pg.Client(database.url);
    await admin.connect();
  });
  afterAll(async () => {
    await admin.end();
    await database.drop();
    const last = new pg.Client(new URL('/postgres', database.url).href);
    await last.connect();
    for (const role of roles) await last.query(`DROP ROLE ${role}`);
    await last.end();
  });

  /** A user of one's own, with the password. */
  async function role(options: string = ''): Promise<string> {
    const name = `${database.name}_${roles.length}`;
    await admin.query(`CREATE ROLE ${name} LOGIN PASSWORD '${PASSWORD}' ${options}`);
    roles.push(name);
    return name;
  }

  function at(change: { user?: string; password?: string; host?: string; port?: string; database?: string }): string {
    const url = new URL(database.url);
    if (change.user !== undefined) url.username = change.user;
    url.password = change.password ?? PASSWORD;
    if (change.host !== undefined) url.hostname = change.host;
    if (change.port !== undefined) url.port = change.port;
    if (change.database !== undefined) url.pathname = `/${change.database}`;
    return url.href;
  }

  async function refusal(options: PostgresOptions): Promise<CarillonError> {
    let thrown: unknown;
    try {
      const bus = await createBus({ engine: postgres(options) });
      await bus.stop();
    } catch (error) {
      thrown = error;
    }
    if (!isCarillonError(thrown)) throw new Error('no error of the catalogue', { cause: thrown });
    const { message, fix, details, cause, stack } = thrown;
    expect(JSON.stringify([message, fix, details, String(cause), stack, { ...(cause as object) }])).not.toContain(
      PASSWORD,
    );
    return thrown;
  }

  /** What a user is told: code, what is wrong, and what to do. */
  async function told(options: PostgresOptions): Promise<readonly string[]> {
    const { code, message, fix } = await refusal(options);
    return [code, message, fix];
  }

  const says = (code: ErrorCode, message: RegExp, fix: RegExp): readonly unknown[] => [
    code,
    expect.stringMatching(message),
    expect.stringMatching(fix),
  ];

  it('a wrong password', async () =>
    expect(await told(at({ user: 'postgres' }))).toEqual(
      says(
        'CARILLON_DATABASE_LOGIN',
        /^127\.0\.0\.1:\d+\/\w+: password authentication failed for user "postgres"$/,
        /user and password/,
      ),
    ));

  it('no password, where one is asked for', async () =>
    expect(await told(at({ user: 'postgres', password: '' }))).toEqual(
      says('CARILLON_DATABASE_LOGIN', /the server asks for a password, and none was given/, /user and password/),
    ));

  it('a user that there is not', async () =>
    expect(await told(at({ user: 'who_is_it' }))).toEqual(
      says('CARILLON_DATABASE_LOGIN', /"who_is_it"/, /user and password/),
    ));

  it('a host that there is not', async () =>
    expect(await told(at({ host: 'no-such-host.invalid' }))).toEqual(
      says(
        'CARILLON_DATABASE_UNREACHABLE',
        /^no-such-host\.invalid:\d+\/\w+: .*(ENOTFOUND|EAI_AGAIN)/,
        /host, port and network/,
      ),
    ));

  it('a port where nobody listens', async () =>
    expect(await told(at({ port: '1' }))).toEqual(
      says('CARILLON_DATABASE_UNREACHABLE', /^127\.0\.0\.1:1\/.*ECONNREFUSED/, /host, port/),
    ));

  it('a database that there is not', async () => {
    const user = await role();
    expect(await told(at({ user, database: 'missing' }))).toEqual(
      says('CARILLON_DATABASE_UNKNOWN', /database "missing" does not exist/, /Create the database/),
    );
  });

  it('a user who may not make the schema', async () => {
    const user = await role();
    expect(await told(at({ user }))).toEqual(
      says(
        'CARILLON_DATABASE_RIGHTS',
        /the schema carillon cannot be made: permission denied for database/,
        /GRANT CREATE ON DATABASE/,
      ),
    );
  });

  it('the same user, once somebody has made the schema for it, is served', async () => {
    const user = await role();
    await admin.query(`CREATE SCHEMA made_for_it AUTHORIZATION ${user}`);
    const bus = await createBus({ engine: postgres({ url: at({ user }), schema: 'made_for_it' }) });
    const event = makeEvent({ specversion: '1.0', id: 'a', source: '/test', type: 'thing.happened' }, {});
    expect(await bus.publish(event)).toMatchObject({ position: 1 });
    await bus.stop();
  });

  it('a user without rights on a schema that another made', async () => {
    const [owner, stranger] = [await role(), await role()];
    await admin.query(`CREATE SCHEMA somebodys AUTHORIZATION ${owner}`);
    const bus = await createBus({ engine: postgres({ url: at({ user: owner }), schema: 'somebodys' }) });
    await bus.stop();
    const options = { url: at({ user: stranger }), schema: 'somebodys' };
    expect(await told(options)).toEqual(
      says('CARILLON_DATABASE_RIGHTS', /permission denied for schema somebodys/, /Grant/),
    );
    await admin.query(`GRANT USAGE ON SCHEMA somebodys TO ${stranger}`);
    expect(await told(options)).toEqual(says('CARILLON_DATABASE_RIGHTS', /permission denied for table/, /Grant/));
  });

  it('a server without TLS, of which TLS is asked', async () => {
    const url = `${database.url}?sslmode=require`;
    expect(await told(url)).toEqual(
      says('CARILLON_DATABASE_TLS', /does not support SSL connections/, /sslmode=disable/),
    );
  });

  it('a pooler that gives each transaction another session; one that does not will do', async () => {
    const [transactions, sessions] = [
      await startPooler(database.url, 'transaction'),
      await startPooler(database.url, 'session'),
    ];
    const expected = says('CARILLON_DATABASE_POOLED', /another session of the server/, /pool_mode = session/);
    expect(await told({ url: transactions.url, schema: 'pooled' })).toEqual(expected);
    const relay = outboxRelay({ url: transactions.url });
    await expect(createBus({ engine: memory(), modules: [relay] })).rejects.toMatchObject({
      code: 'CARILLON_DATABASE_POOLED',
    });
    const bus = await createBus({ engine: postgres({ url: sessions.url, schema: 'pooled' }) });
    const event = makeEvent({ specversion: '1.0', id: 'a', source: '/test', type: 'thing.happened' }, {});
    expect(await bus.publish(event)).toMatchObject({ position: 1 });
    await bus.stop();
    await Promise.all([transactions.close(), sessions.close()]);
  });

  it('a database that is read-only', async () => {
    const user = await role();
    await admin.query(`GRANT CREATE ON DATABASE ${database.name} TO ${user}`);
    await admin.query(`ALTER ROLE ${user} SET default_transaction_read_only = on`);
    const options = { url: at({ user }), schema: 'read_only' };
    expect(await told(options)).toEqual(says('CARILLON_DATABASE_READ_ONLY', /read-only transaction/, /primary/));
  });

  it('too many connections', async () => {
    const user = await role('CONNECTION LIMIT 1');
    const only = new pg.Client(at({ user }));
    await only.connect();
    expect(await told(at({ user }))).toEqual(
      says('CARILLON_DATABASE_UNREACHABLE', /too many connections for role/, /connections to spare/),
    );
    await only.end();
  });

  it('an event of a transaction that is not one of this database', async () => {
    const elsewhere = new pg.Client(new URL('/postgres', database.url).href);
    await elsewhere.connect();
    const bus = await createBus({ engine: postgres({ url: database.url, schema: 'not_elsewhere' }) });
    const event = makeEvent({ specversion: '1.0', id: 'a', source: '/test', type: 'thing.happened' }, {});
    await expect(bus.publish(event, { tx: elsewhere })).rejects.toMatchObject({
      code: 'CARILLON_OPTION_INVALID',
      message: expect.stringMatching(/not one of a database with the schema not_elsewhere/) as string,
    });
    await elsewhere.end();
    await bus.stop();
  });

  it.each([
    `it's "quoted"; DROP SCHEMA public CASCADE; --`,
    'MixedCase',
    'ümläut und 空格',
    'with.dot',
    'x'.repeat(63),
    '$1',
    String.raw`back\slash`,
    'select',
    '%I %s',
  ])('a schema named %s is one like any other', async (schema) => {
    const open = () => createBus({ engine: postgres({ url: database.url, schema, segmentEvents: 1000 }) });
    const bus = await open();
    const event = (id: string) => makeEvent({ specversion: '1.0', id, source: '/test', type: 'thing.happened' }, {});
    // Over the end of a segment, whose table is made then.
    await bus.publish(Array.from({ length: 999 }, (_, n) => event(`e${n}`)));
    await bus.publish([event('a'), event('b')]);
    const tx = new pg.Client(database.url);
    await tx.connect();
    await bus.publish(event('c'), { tx });
    await tx.end();
    await bus.stop();
    const again = await open();
    await again.publish(event('d'));
    const ids: string[] = [];
    for await (const { event: found } of again.read()) ids.push(found.id);
    expect(ids.slice(-4)).toEqual(['a', 'b', 'c', 'd']);
    await again.stop();
    const { rows } = await admin.query('SELECT FROM pg_namespace WHERE nspname = ANY ($1)', [[schema, 'public']]);
    expect(rows.length).toBe(2);
  });
});
