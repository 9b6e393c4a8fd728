import pg from 'pg';
import { carillonError, toError } from '../core/index.ts';
import { databaseError } from './database-errors.ts';

/** What a query answers: the part of a `pg` result that is used here. */
export interface QueryAnswer {
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  readonly rowCount: number | null;
}

/** A statement; one with a name is prepared once for each connection. */
export interface Query {
  readonly text: string;
  readonly values?: readonly unknown[];
  readonly name?: string;
  /** `array`: rows are arrays rather than objects. */
  readonly rowMode?: 'array';
  /** `extended`: one statement, never several, though it has no values. */
  readonly queryMode?: 'extended';
}

/** What of a `pg` client an application may hand in: the client in whose transaction something is to happen. */
export interface PgClient {
  query(text: string, values?: unknown[]): Promise<unknown>;
}

/** What of a `pg` pool is used, when the application hands in its own. */
export interface PgPool {
  connect(): Promise<PgPoolClient>;
}

/** A client of such a pool. */
export interface PgPoolClient extends PgClient {
  release(destroy?: boolean | Error): void;
  on(event: string, listener: (...args: never[]) => void): unknown;
}

/** Where a database is. The names are those of the article's `databaseConfig`; all but `database` have a default. */
export interface PostgresAddress {
  /** Shown as the application's name in `pg_stat_activity`. */
  readonly name?: string;
  /** Default `127.0.0.1`. */
  readonly host?: string;
  /** Default 5432. */
  readonly port?: number;
  readonly user?: string;
  readonly password?: string;
  readonly database: string;
  /** As `pg` takes it; default: none. */
  readonly ssl?: boolean | object;
}

/** A database: its URL, its address, or the application's own `pg` pool. */
export type PostgresDatabase = string | { readonly url: string } | PostgresAddress | { readonly pool: PgPool };

/** A connection of one's own, until it is closed or breaks. */
export interface Connection {
  /** Fails with a catalogued error; when the connection broke, with `CARILLON_DATABASE_UNREACHABLE`. */
  query(query: string | Query): Promise<QueryAnswer>;
  /** Calls back once, when the connection has broken without having been closed. */
  readonly broken: Promise<Error>;
  onNotification(listener: (channel: string, payload: string) => void): void;
  /** The server's process for this connection; null when it is not told. */
  readonly processId: number | null;
  /** Whether statements may be sent before those before them are answered. */
  readonly pipelined: boolean;
  /** Takes leave of the server. */
  close(): Promise<void>;
  /** Breaks it off: for one that does not answer any more, and for tests. */
  abort(): void;
}

export interface ConnectionOptions {
  /** Sends statements without waiting for the answers to those before them, where the database is not an application's own pool. */
  readonly pipeline?: boolean;
  /** Default: the name given with the address, else `carillon`. */
  readonly applicationName?: string;
}

/** Makes connections to one database. */
export interface Connector {
  /** The database as people may see it: no password in it. */
  readonly label: string;
  /**
   * Fails with `CARILLON_DATABASE_UNREACHABLE` (retryable), `CARILLON_DATABASE_LOGIN`, `CARILLON_DATABASE_TLS`,
   * `CARILLON_DATABASE_UNKNOWN`, `CARILLON_DATABASE_RIGHTS`.
   */
  connect(options?: ConnectionOptions): Promise<Connection>;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** A connection idle for so long is asked for a sign of life: every second then, ten times (Node's `setKeepAlive`). */
const KEEP_ALIVE_MS = 10_000;

/** Fails with `CARILLON_OPTION_INVALID` when the database is not named in one of the ways there are. */
export function connectorOf(database: PostgresDatabase): Connector {
  if (typeof database === 'object' && database !== null && 'pool' in database) return poolConnector(database.pool);
  const config = clientConfig(database);
  const label = labelOf(config);
  return {
    label,
    connect: async ({ pipeline = false, applicationName } = {}) => {
      const client = new pg.Client({
        ...config,
        application_name: applicationName ?? config.application_name ?? 'carillon',
        connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
        keepAlive: true,
        keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
        ...({ pipeline } as object),
      });
      const connection = new ClientConnection(client, label, () => client.end(), pipeline);
      try {
        await client.connect();
      } catch (error) {
        // One that gave up by itself in the middle of the login has not hung up.
        connection.abort();
        throw databaseError(error, label);
      }
      return connection;
    },
  };
}

/** The settings of a `pg` client for this database: for what needs more than a {@link Connection} can do. */
export function clientConfig(database: PostgresDatabase): pg.ClientConfig {
  if (typeof database === 'string') return ofUrl(database);
  if (typeof database !== 'object' || database === null) throw invalid('a database is a URL, an address or { pool }');
  if ('pool' in database) throw invalid('a connection of its own is needed here: name the database by URL or address');
  if ('url' in database) return ofUrl(database.url);
  const { name, host = '127.0.0.1', port = 5432, user, password, database: dbname, ssl, ...unknown } = database;
  for (const option of Object.keys(unknown)) throw invalid(`there is no option \`${option}\``);
  for (const [option, value] of Object.entries({ name, host, user, password })) {
    // Not shown: it may be the password.
    if (value !== undefined && typeof value !== 'string') throw invalid(`\`${option}\` must be text`);
  }
  if (typeof dbname !== 'string' || dbname === '') throw invalid('`database` must name one');
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalid(`port must be from 1 to 65535, not ${port}`);
  return {
    host,
    port,
    database: dbname,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(ssl === undefined ? {} : { ssl }),
    ...(name === undefined ? {} : { application_name: name }),
  };
}

function ofUrl(url: unknown): pg.ClientConfig {
  if (typeof url === 'string' && /^postgres(ql)?:\/\//.test(url)) return { connectionString: url };
  // Not shown: a mistyped URL may hold a password.
  throw invalid('the URL must begin with postgres:// or postgresql://');
}

/** `host:port/database` */
function labelOf(config: pg.ClientConfig): string {
  let client: pg.Client;
  try {
    client = new pg.Client(config);
  } catch {
    // Neither shown nor kept as the cause: it holds the URL, and that the password.
    throw invalid(
      'the URL is not one: check its port, and that what is special in user and password is percent-encoded',
    );
  }
  return `${client.host}:${client.port}/${client.database ?? ''}`;
}

function poolConnector(pool: PgPool): Connector {
  if (typeof pool?.connect !== 'function') throw invalid('`pool` must be a pool of the package pg');
  const label = 'the pool';
  return {
    label,
    connect: async () => {
      let client: PgPoolClient;
      try {
        client = await pool.connect();
      } catch (error) {
        throw databaseError(error, label);
      }
      // Destroyed, not given back: what it listens to and has prepared is nobody else's business.
      let released = false;
      const release = (): void => {
        if (!released) client.release(true);
        released = true;
      };
      const connection = new ClientConnection(client as unknown as AnyClient, label, async () => release());
      // Nobody closes what is broken, and the pool counts it as taken until it is told.
      void connection.broken.then(release);
      return connection;
    },
  };
}

interface AnyClient {
  /** Not among what `pg` documents, and there since its first version. */
  readonly processID?: number | null;
  readonly connection?: { readonly stream?: { destroy(): void } };
  query(query: string | Query): Promise<QueryAnswer>;
  on(event: 'error' | 'end' | 'notification', listener: (value: never) => void): unknown;
}

/** States: `open` → `closed` (by us) | `broken` (by anything else). */
class ClientConnection implements Connection {
  readonly client: AnyClient;
  readonly label: string;
  readonly end: () => Promise<void>;
  readonly pipelined: boolean;
  readonly broken: Promise<Error>;
  state: 'open' | 'closed' | 'broken' = 'open';
  failure: Error | null = null;

  constructor(client: AnyClient, label: string, end: () => Promise<void>, pipelined: boolean = false) {
    this.client = client;
    this.label = label;
    this.end = end;
    this.pipelined = pipelined;
    this.broken = new Promise((resolve) => {
      const breaks = (thrown?: unknown): void => {
        if (this.state !== 'open') return;
        this.state = 'broken';
        this.failure = databaseError(thrown ?? new Error('the connection was closed by the server'), label, 'broken');
        resolve(this.failure);
      };
      // Without a listener an error of an idle client would end the process.
      client.on('error', breaks);
      client.on('end', () => breaks());
    });
  }

  async query(query: string | Query): Promise<QueryAnswer> {
    try {
      return await this.client.query(query);
    } catch (error) {
      // What the server says of a statement stands; all else is the connection's end.
      throw databaseError(error, this.label, this.state === 'open' ? undefined : 'broken');
    }
  }

  onNotification(listener: (channel: string, payload: string) => void): void {
    this.client.on('notification', ({ channel, payload }: { channel: string; payload?: string }) =>
      listener(channel, payload ?? ''),
    );
  }

  get processId(): number | null {
    return this.client.processID ?? null;
  }

  abort(): void {
    const { stream } = this.client.connection ?? {};
    if (stream) stream.destroy();
    else void this.close();
  }

  async close(): Promise<void> {
    if (this.state === 'closed') return;
    const wasOpen = this.state === 'open';
    this.state = 'closed';
    try {
      await this.end();
    } catch (error) {
      // One that is broken already has nothing left to close.
      if (wasOpen) throw toError(error);
    }
  }
}

const invalid = (message: string): Error => carillonError('CARILLON_OPTION_INVALID', message, { option: 'database' });
