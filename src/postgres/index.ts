export { callWithin } from './call-within.ts';
export {
  clientConfig,
  connectorOf,
  type Connection,
  type ConnectionOptions,
  type Connector,
  type PgClient,
  type PgPool,
  type PgPoolClient,
  type PostgresAddress,
  type PostgresDatabase,
  type Query,
  type QueryAnswer,
} from './connection.ts';
export { databaseError, sqlStateOf } from './database-errors.ts';
export { IDENTIFIER_BYTES_MAX, quoteIdentifier, quoteLiteral } from './identifiers.ts';
export { assertOwnSession, setUpSession } from './own-session.ts';
export { sequencingFile, takeSteps } from './schema-steps.ts';
