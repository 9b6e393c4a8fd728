import pg from 'pg';

/** The article's `databaseConfig`. `database` is the manager's own one: it is there already, and on the server that is managed. */
export interface DatabaseConfig {
  /** Shown as the application's name by the server. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

/** The same from a URL, as `pg` understands it. */
export function databaseConfigOf(url: string, name: string): DatabaseConfig {
  const { host, port, user, password, database } = new pg.Client(url);
  return { name, host, port, user: user ?? '', password: password ?? '', database: database ?? '' };
}

const CONNECT_TIMEOUT_MS = 10_000;

/** A client of one database of the server, connected. Its death is told by its next statement. */
export async function connect(config: DatabaseConfig, database: string = config.database): Promise<pg.Client> {
  const { name, host, port, user, password } = config;
  const client = new pg.Client({
    host,
    port,
    user,
    password,
    database,
    application_name: name,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  // Without a listener an error of an idle client would end the process; the next statement fails all the same.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** Runs work on a client of one database, and takes leave of it. */
export async function connected<Result>(
  config: DatabaseConfig,
  database: string,
  work: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  const client = await connect(config, database);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
