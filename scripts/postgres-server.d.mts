export interface PostgresServer {
  readonly port: number;
  readonly password: string;
  /** As people say it: `PostgreSQL 18.4`. */
  readonly version: string;
  /** Its cluster is in `data` there. */
  readonly directory: string;
  /** The end of what the server has logged. */
  readonly log: string;
  url(database?: string, user?: string, password?: string): string;
  start(): Promise<PostgresServer>;
  stop(mode?: 'smart' | 'fast' | 'immediate'): Promise<void>;
  restart(mode?: 'smart' | 'fast' | 'immediate'): Promise<PostgresServer>;
  dispose(): Promise<void>;
}

export function startPostgres(options?: {
  readonly flags?: readonly string[];
  readonly fsync?: boolean;
}): Promise<PostgresServer>;
