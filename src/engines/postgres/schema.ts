import { sequencingFile, takeSteps, type Connection } from '../../postgres/index.ts';

const step = (name: string): URL => new URL(`sql/${name}.sql`, import.meta.url);

/** The schema of the engine: see `takeSteps`. */
const steps: readonly (readonly URL[])[] = [
  [step('0001'), sequencingFile],
  [step('0002')],
  [step('0003')],
  [step('0004')],
];

/** Brings the schema to this version's. Fails as `takeSteps` does. */
export const migrate = (connection: Connection, schema: string): Promise<void> => takeSteps(connection, schema, steps);
