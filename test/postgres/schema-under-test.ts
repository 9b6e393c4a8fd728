import pg from 'pg';
import { migrate } from '../../src/engines/postgres/schema.ts';
import { connectorOf } from '../../src/postgres/index.ts';
import { freshDatabase, type FreshDatabase } from './fresh-database.ts';

/** The engine's schema in a database of its own, for tests that speak to it in SQL. */
export interface SchemaUnderTest {
  readonly database: FreshDatabase;
  /** A connection with the schema on its path. It is closed with the rest. */
  client(): Promise<pg.Client>;
  /** Replaces part of a function by something wrong: what a test is to notice. */
  mutate(functionName: string, replacements: readonly (readonly [string, string])[]): Promise<void>;
  dispose(): Promise<void>;
}

export async function schemaUnderTest(): Promise<SchemaUnderTest> {
  const database = await freshDatabase();
  const connection = await connectorOf(database.url).connect();
  await migrate(connection, 'carillon');
  await connection.close();
  const clients: pg.Client[] = [];
  const client = async (): Promise<pg.Client> => {
    const made = new pg.Client({ connectionString: database.url });
    await made.connect();
    await made.query('SET search_path = carillon, public');
    clients.push(made);
    return made;
  };
  const mutate: SchemaUnderTest['mutate'] = async (name, replacements) => {
    const one = await client();
    const { rows } = await one.query<{ text: string }>('SELECT pg_get_functiondef($1::regproc) AS text', [name]);
    let text = rows[0]?.text ?? '';
    for (const [right, wrong] of replacements) {
      if (text.split(right).length !== 2) throw new Error(`${name} does not have this, once: ${right}`);
      text = text.replace(right, () => wrong);
    }
    await one.query(text);
  };
  const dispose = async (): Promise<void> => {
    await Promise.all(clients.map((one) => one.end()));
    await database.drop();
  };
  return { database, client, mutate, dispose };
}
