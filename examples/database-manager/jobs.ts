/**
 * Jobs: what a handler does on the server for one event.
 *
 * CREATE DATABASE, DROP DATABASE and CREATE EXTENSION in another database cannot be part of the transaction that
 * acknowledges an event. So a job has steps outside of it, each of which may have been done already by an attempt that
 * died. Two things make every one of them safe to repeat:
 *
 * - A database that is being made or dropped bears a name that belongs to the job alone (names.ts). Whatever bears it is
 *   the job's: to make it again is to find it, to drop it again hits nobody else.
 * - Renaming, owner, connection limit and permission to connect are transactional, across databases of one server. So the
 *   step that others can see, the taking of the final name, is part of the commit of the acknowledgement, the fact, the
 *   log row and the job's end.
 *
 * States of a job (table `database_manager.jobs`); no row is the first. [brackets]: one transaction.
 *
 * create   (no row) → begun        the name is free and allowed              [row]
 *          begun                   working database made                     CREATE DATABASE, unless it is there
 *          begun                   extensions made in it                     CREATE EXTENSION IF NOT EXISTS
 *          begun → done            [limit, final name, owner, row, log, fact, acknowledgement]
 *          begun → failed          working database dropped, if it is there, then [row, log, fact, acknowledgement]
 *
 * alter    (no row) → begun        the target's oid is written down          [row]
 *          begun                   extensions changed in it                  [CREATE and DROP EXTENSION IF (NOT) EXISTS]
 *          begun → done            [limit, connections, name, owner, row, log, fact, acknowledgement]
 *          begun → failed          [row, log, fact, acknowledgement]; extensions stay, and the fact says so
 *
 * drop     (no row) → taken        [working name, row]: gone, as others see it
 *          taken                   DROP DATABASE IF EXISTS under the working name
 *          taken → done            [row, log, fact, acknowledgement]
 *          taken → failed          [its old name again, row, log, fact, acknowledgement]
 *
 * (no row) → failed                refused at once: [row, log, fact, acknowledgement]
 *
 * `done` and `failed` are final: an event of such a job does nothing more. A refusal (reasons.ts) leads to `failed`.
 * Anything else ends the attempt, leaves the job as it is, and the bus tries again. A process that dies between any two
 * steps, or within one, is the same to the next attempt, which begins at the top. Two attempts never work at once: see
 * workplace.ts.
 */
import { carillonError, type Event, type HandlerContext } from 'carillon';
import pg from 'pg';
import { connected, type DatabaseConfig } from './database-config.ts';
import {
  DatabaseAltered,
  DatabaseAlterFailed,
  DatabaseAlterRequested,
  DatabaseCreated,
  DatabaseCreateFailed,
  DatabaseCreateRequested,
  DatabaseDropFailed,
  DatabaseDropped,
  DatabaseDropRequested,
} from './events.ts';
import { log } from './logbook.ts';
import { nameProblem, protectionOf, workingName } from './names.ts';
import { Refusal, refusalOf, refusalOfError } from './reasons.ts';
import { openWorkplace } from './workplace.ts';

type DataOf<D> = D extends { is(event: Event): event is Event<infer Data> } ? Data : never;
type CreateRequest = DataOf<typeof DatabaseCreateRequested>;
type AlterRequest = DataOf<typeof DatabaseAlterRequested>;
type DropRequest = DataOf<typeof DatabaseDropRequested>;

/** What lies between two steps; tests kill the process at each. */
export const jobSteps = ['locked', 'begun', 'made', 'extended', 'taken', 'dropped', 'undone', 'settled'] as const;
export type JobStep = (typeof jobSteps)[number];

export interface JobsOptions {
  readonly config: DatabaseConfig;
  /** Databases that events may not touch, besides the server's own and the manager's. */
  readonly protectedNames?: readonly string[];
  /** Told of each step that is done. What it throws ends the attempt. */
  readonly reached?: (step: JobStep) => unknown;
}

/** How a database is set; `before` and after of a change. */
interface Settings {
  readonly name: string;
  readonly oid: number;
  readonly owner: string;
  readonly connectionLimit: number;
  readonly allowConnections: boolean;
}

type State = 'begun' | 'taken' | 'done' | 'failed';

/** One attempt at a job. */
interface Attempt {
  readonly job: string;
  readonly kind: 'create' | 'alter' | 'drop';
  readonly name: string;
  readonly event: Event;
  readonly context: HandlerContext;
  readonly client: pg.Client;
  /** As an earlier attempt left it; null when this is the first to come so far. */
  readonly row: { readonly state: State; readonly database: number | null } | null;
}

const quoted = (name: string): string => pg.escapeIdentifier(name);

/** Columns of {@link Settings}. */
export const SETTINGS = `d.datname AS name, d.oid, pg_get_userbyid(d.datdba) AS owner,
  d.datconnlimit AS "connectionLimit", d.datallowconn AS "allowConnections"`;

export class DatabaseJobs {
  readonly config: DatabaseConfig;
  readonly protectedNames: readonly string[];
  readonly reached: (step: JobStep) => unknown;

  constructor({ config, protectedNames = [], reached = () => undefined }: JobsOptions) {
    this.config = config;
    this.protectedNames = [config.database, ...protectedNames];
    this.reached = reached;
  }

  /** Fails with a {@link Refusal} for a name that events may not touch. */
  assertAllowed(name: string): void {
    const problem = nameProblem(name);
    if (problem !== null) throw new Refusal('DATABASE_NAME_INVALID', `the name ${JSON.stringify(name)} ${problem}`);
    const protection = protectionOf(name, this.protectedNames);
    if (protection !== null) throw new Refusal('DATABASE_PROTECTED', protection);
  }

  /** Does what a request asks for, and publishes what has come of it. */
  async work(event: Event, context: HandlerContext): Promise<void> {
    if (DatabaseCreateRequested.is(event)) await this.create(event, context);
    else if (DatabaseAlterRequested.is(event)) await this.alter(event, context);
    else if (DatabaseDropRequested.is(event)) await this.drop(event, context);
    else throw carillonError('CARILLON_BUG', `${event.type} is no request for a job`);
  }

  async create(event: Event<CreateRequest>, context: HandlerContext): Promise<void> {
    const { name, owner, connectionLimit, extensions } = event.data;
    await this.attempt('create', event, name, context, async (attempt) => {
      const { job, client } = attempt;
      try {
        if (attempt.row === null) {
          this.assertAllowed(name);
          if (await findDatabase(client, name)) throw exists(name);
          await this.begin(attempt, null);
        }
        await this.step('begun', context);
        // Nothing of template1, so that it is the same on every server, and nobody's session is in the way.
        if (!(await findDatabase(client, job))) await client.query(`CREATE DATABASE ${quoted(job)} TEMPLATE template0`);
        await this.step('made', context);
        const found = await findDatabase(client, job);
        const made = await connected(this.config, job, async (inside) => {
          for (const one of extensions) await inside.query(`CREATE EXTENSION IF NOT EXISTS ${quoted(one)} CASCADE`);
          return extensionsOf(inside);
        });
        await this.step('extended', context);
        await this.change(context, found?.oid ?? 0, { rename: name, owner, connectionLimit });
        const settings = await settingsOf(context, found?.oid ?? 0);
        await this.end(attempt, 'done', `made ${described(settings)}`);
        context.publish(DatabaseCreated({ ...settings, extensions: made }));
      } catch (error) {
        const refusal = this.refusal(attempt, error);
        await client.query(`DROP DATABASE IF EXISTS ${quoted(job)} WITH (FORCE)`);
        await this.step('undone', context);
        await this.end(attempt, 'failed', `not made: ${refusal.message}`, refusal);
        context.publish(DatabaseCreateFailed({ name, reason: refusal.reason }));
      }
    });
  }

  async alter(event: Event<AlterRequest>, context: HandlerContext): Promise<void> {
    const { name, rename, owner, connectionLimit, allowConnections, addExtensions, dropExtensions, force } = event.data;
    await this.attempt('alter', event, name, context, async (attempt) => {
      const { client } = attempt;
      let extensionsChanged = false;
      try {
        let oid = attempt.row?.database ?? 0;
        if (attempt.row === null) {
          oid = (await this.target(client, name)).oid;
          if (rename !== undefined && rename !== name) {
            this.assertAllowed(rename);
            if (await findDatabase(client, rename)) throw exists(rename);
          }
          if (owner !== undefined) await assertRole(client, owner);
          await this.begin(attempt, oid);
        }
        await this.step('begun', context);
        if (addExtensions.length + dropExtensions.length > 0) {
          await this.changeExtensions(client, oid, addExtensions, dropExtensions);
          extensionsChanged = true;
        }
        await this.step('extended', context);
        const before = await settingsOf(context, oid);
        if (force && rename !== undefined) await endSessions(client, oid);
        await this.change(context, oid, { rename, owner, connectionLimit, allowConnections });
        const settings = await settingsOf(context, oid);
        await this.end(attempt, 'done', `changed ${described(before)} to ${described(settings)}`);
        context.publish(DatabaseAltered({ ...settings, before }));
      } catch (error) {
        const refusal = this.refusal(attempt, error);
        await this.end(attempt, 'failed', `not changed: ${refusal.message}`, refusal);
        context.publish(DatabaseAlterFailed({ name, reason: refusal.reason, extensionsChanged }));
      }
    });
  }

  async drop(event: Event<DropRequest>, context: HandlerContext): Promise<void> {
    const { name, force } = event.data;
    await this.attempt('drop', event, name, context, async (attempt) => {
      const { job, client } = attempt;
      let oid = attempt.row?.database ?? null;
      try {
        oid ??= await this.take(attempt, force);
        await this.step('taken', context);
        await client.query(`DROP DATABASE IF EXISTS ${quoted(job)} WITH (FORCE)`);
        await this.step('dropped', context);
        await this.end(attempt, 'done', `dropped ${JSON.stringify(name)}`);
        context.publish(DatabaseDropped({ name, oid }));
      } catch (error) {
        const refusal = this.refusal(attempt, error);
        const told = oid === null ? refusal : await this.giveBack(attempt, oid, refusal);
        await this.step('undone', context);
        await this.end(attempt, 'failed', `not dropped: ${told.message}`, told);
        context.publish(DatabaseDropFailed({ name, reason: told.reason }));
      }
    });
  }

  // Steps.

  async attempt(
    kind: Attempt['kind'],
    event: Event,
    name: string,
    context: HandlerContext,
    work: (attempt: Attempt) => Promise<void>,
  ): Promise<void> {
    const job = workingName(this.config.database, event.source, event.id);
    const workplace = await openWorkplace(this.config, job, context.signal);
    const { client } = workplace;
    try {
      await this.step('locked', context);
      const { rows } = await client.query<NonNullable<Attempt['row']>>(
        'SELECT state, database FROM database_manager.jobs WHERE job = $1',
        [job],
      );
      const row = rows[0] ?? null;
      if (row?.state === 'done' || row?.state === 'failed') return;
      await work({ job, kind, name, event, context, client, row });
      await this.step('settled', context);
    } finally {
      await workplace.close();
    }
  }

  async step(step: JobStep, { signal }: HandlerContext): Promise<void> {
    signal.throwIfAborted();
    await this.reached(step);
  }

  async begin({ client, job, kind, name }: Attempt, oid: number | null, state: State = 'begun'): Promise<void> {
    await client.query(
      'INSERT INTO database_manager.jobs (job, kind, name, database, state) VALUES ($1, $2, $3, $4, $5)',
      [job, kind, name, oid, state],
    );
  }

  /** The end of a job, part of the commit that acknowledges its event. */
  async end({ job, kind, name, event, context }: Attempt, state: State, message: string, why?: Refusal): Promise<void> {
    await context.tx.run(
      `INSERT INTO database_manager.jobs (job, kind, name, state, reason) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (job) DO UPDATE SET state = excluded.state, reason = excluded.reason, changed = now()`,
      [job, kind, name, state, why ? JSON.stringify(why.reason) : null],
    );
    await log(event, context, message);
  }

  /** The database that is meant, when events may touch it. */
  async target(client: pg.Client, name: string): Promise<{ readonly oid: number }> {
    this.assertAllowed(name);
    const found = await findDatabase(client, name);
    if (!found) throw new Refusal('DATABASE_UNKNOWN', `there is no database ${JSON.stringify(name)}`);
    if (found.template) throw new Refusal('DATABASE_PROTECTED', `${JSON.stringify(name)} is a template`);
    return found;
  }

  /** Gives the database that is to be dropped the name of its job, and writes down that it has it. */
  async take(attempt: Attempt, force: boolean): Promise<number> {
    const { client, job, name } = attempt;
    const { oid } = await this.target(client, name);
    if (force) await endSessions(client, oid);
    await client.query('BEGIN');
    try {
      await this.begin(attempt, oid, 'taken');
      const { rows } = await client.query<{ problem: unknown }>(
        'SELECT database_manager.alter_database($1, $2, NULL, NULL, NULL) AS problem',
        [oid, job],
      );
      throwProblem(rows[0]?.problem);
      await client.query('COMMIT');
    } catch (error) {
      await client.query('ROLLBACK');
      throw error;
    }
    return oid;
  }

  /** A database that cannot be dropped gets its name back, unless another has got it meanwhile: then the reason says so. */
  async giveBack({ context, job, name }: Attempt, oid: number, why: Refusal): Promise<Refusal> {
    try {
      await this.change(context, oid, { rename: name });
      return why;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return new Refusal(why.code, `${why.message}; it is named ${job} now, because: ${error.message}`);
    }
  }

  /** All or nothing, as part of the commit that acknowledges the event. */
  async change(
    { tx }: HandlerContext,
    oid: number,
    { rename, owner, connectionLimit, allowConnections }: Partial<Omit<AlterRequest, 'name'>>,
  ): Promise<void> {
    const rows = await tx.all('SELECT database_manager.alter_database($1, $2, $3, $4, $5) AS problem', [
      oid,
      rename ?? null,
      owner ?? null,
      connectionLimit ?? null,
      allowConnections ?? null,
    ]);
    throwProblem(rows[0]?.['problem']);
  }

  async changeExtensions(
    client: pg.Client,
    oid: number,
    add: readonly string[],
    drop: readonly string[],
  ): Promise<void> {
    const { rows } = await client.query<{ name: string }>('SELECT datname AS name FROM pg_database WHERE oid = $1', [
      oid,
    ]);
    const name = rows[0]?.name;
    if (name === undefined) throw gone();
    await connected(this.config, name, async (inside) => {
      await inside.query('BEGIN');
      const here = await inside.query<{ oid: number }>(
        'SELECT oid FROM pg_database WHERE datname = current_database()',
      );
      if (here.rows[0]?.oid !== oid) throw gone();
      for (const one of add) await inside.query(`CREATE EXTENSION IF NOT EXISTS ${quoted(one)} CASCADE`);
      for (const one of drop) await inside.query(`DROP EXTENSION IF EXISTS ${quoted(one)}`);
      await inside.query('COMMIT');
    });
  }

  /** What was thrown, when it is a refusal; whatever passes by itself is thrown on. Nobody asked for the working name. */
  refusal({ job, name }: Attempt, error: unknown): Refusal {
    const refusal = refusalOfError(error);
    if (refusal === null) throw error;
    return new Refusal(refusal.code, refusal.message.replaceAll(job, name));
  }
}

const exists = (name: string): Refusal =>
  new Refusal('DATABASE_EXISTS', `there is a database ${JSON.stringify(name)} already`);

const gone = (): Refusal => new Refusal('DATABASE_GONE', 'the database is not there any more');

const described = ({ name, owner, connectionLimit, allowConnections }: Settings): string =>
  `${JSON.stringify(name)} (owner ${JSON.stringify(owner)}, connection limit ${connectionLimit}${allowConnections ? '' : ', closed'})`;

/** What `alter_database` told. */
function throwProblem(problem: unknown): void {
  if (problem === null || problem === undefined) return;
  const { sqlState, message } = problem as { readonly sqlState: string; readonly message: string };
  throw refusalOf(sqlState, message) ?? new Error(`${message} (SQLSTATE ${sqlState})`);
}

async function findDatabase(client: pg.Client, name: string): Promise<{ oid: number; template: boolean } | undefined> {
  const { rows } = await client.query<{ oid: number; template: boolean }>(
    'SELECT oid, datistemplate AS template FROM pg_database WHERE datname = $1',
    [name],
  );
  return rows[0];
}

async function assertRole(client: pg.Client, role: string): Promise<void> {
  const { rows } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [role]);
  if (rows.length === 0) throw new Refusal('ROLE_UNKNOWN', `there is no role ${JSON.stringify(role)}`);
}

async function endSessions(client: pg.Client, oid: number): Promise<void> {
  await client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = $1', [oid]);
}

/** Of the database that a client is in, but for the one that every database has. */
export async function extensionsOf(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ extname: string }>(
    "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY extname",
  );
  return rows.map(({ extname }) => extname);
}

async function settingsOf({ tx }: HandlerContext, oid: number): Promise<Settings> {
  const [row] = await tx.all(`SELECT ${SETTINGS} FROM pg_database d WHERE d.oid = $1`, [oid]);
  if (row === undefined) throw gone();
  return row as unknown as Settings;
}
