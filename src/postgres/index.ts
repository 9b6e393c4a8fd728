export {
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
export { sqlStateOf } from './database-errors.ts';
export { quoteIdentifier } from './identifiers.ts';
