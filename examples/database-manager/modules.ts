import {
  defineModule,
  EventModule,
  exponential,
  type Event,
  type EventDefinition,
  type HandlerContext,
  type HandlerOptions,
  type Module,
} from 'carillon';
import { connected, type DatabaseConfig } from './database-config.ts';
import {
  DatabaseAlterRequested,
  DatabaseAltered,
  DatabaseAlterFailed,
  DatabaseCreated,
  DatabaseCreateFailed,
  DatabaseCreateRequested,
  DatabaseDescribeAsked,
  DatabaseDropFailed,
  DatabaseDropped,
  DatabaseDropRequested,
  DatabaseListAsked,
  definitions,
  EventsAsked,
} from './events.ts';
import { extensionsOf, SETTINGS, type DatabaseJobs } from './jobs.ts';
import { log } from './logbook.ts';
import { protectionOf, WORKING_PREFIX } from './names.ts';

/** How long one attempt at a job may take, in ms. A large server needs seconds for CREATE DATABASE. */
export const JOB_MS = 60_000;

/** `transaction`: what a handler writes and its acknowledgement are one commit. */
const always: HandlerOptions = { transaction: true, from: 'beginning' };

/** Ask for databases to be made, changed and dropped: one job an event, those of one database in order. */
export class DatabaseModule extends EventModule {
  readonly jobs: DatabaseJobs;

  constructor(jobs: DatabaseJobs) {
    super({ moduleId: 'databases' });
    this.jobs = jobs;
    // Before an event is stored: whoever publishes it is told why not. The job looks again, for events that came another way.
    this.handleSync(
      [DatabaseCreateRequested, DatabaseAlterRequested, DatabaseDropRequested],
      ({ data }) => {
        jobs.assertAllowed(data.name);
        if ('rename' in data && data.rename !== undefined) jobs.assertAllowed(data.rename);
      },
      { name: 'refuse-dangerous' },
    );
    // One handler for all three, so that what is asked of a database is done in the order in which it was asked.
    this.on(
      [DatabaseCreateRequested, DatabaseAlterRequested, DatabaseDropRequested],
      (event, context) => jobs.work(event, context),
      {
        ...always,
        name: 'work',
        order: 'key',
        concurrency: 4,
        timeoutMs: JOB_MS,
        retry: exponential({ attemptsMax: 10, initialMs: 200, maxMs: 30_000 }),
      },
    );

    // The article's addEvent(type, description, time): published when the module starts for the first time, due a second later.
    this.addEvent('database.audit.due', 'The jobs are to be looked over', 1000);
    this.on('database.audit.due', audit, { ...always, name: 'audit' });
  }
}

/** Tells what is under way, and what bears a job's name though no job is at work on it. */
async function audit(event: Event, context: HandlerContext): Promise<void> {
  const [row] = await context.tx.all(
    `SELECT (SELECT count(*)::int FROM database_manager.jobs WHERE state IN ('begun', 'taken')) AS open,
            (SELECT count(*)::int FROM pg_database d WHERE starts_with(datname, $1) AND NOT EXISTS (
               SELECT FROM database_manager.jobs j WHERE j.job = d.datname AND j.state IN ('begun', 'taken'))) AS stray`,
    [WORKING_PREFIX],
  );
  await log(event, context, `${Number(row?.['open'])} jobs under way, ${Number(row?.['stray'])} databases of no job`);
}

/** Answers questions about the server's databases. */
export function catalogueModule(config: DatabaseConfig, protectedNames: readonly string[]): Module {
  const isProtected = (name: string, template: boolean): boolean =>
    template || protectionOf(name, protectedNames) !== null;
  return defineModule('catalogue', (m) => {
    m.handle(
      DatabaseListAsked,
      async (event, context) => {
        const rows = await context.tx.all(
          `SELECT ${SETTINGS}, d.datistemplate AS template FROM pg_database d ORDER BY d.datname`,
        );
        await log(event, context, `listed ${rows.length} databases`);
        return rows.map(({ template, ...settings }) => ({
          ...(settings as unknown as Listed),
          protected: isProtected(settings['name'] as string, template === true),
        }));
      },
      { ...always, name: 'list', order: 'none' },
    );
    m.handle(
      DatabaseDescribeAsked,
      async (event, context) => {
        const { name } = event.data;
        const [row] = await context.tx.all(
          `SELECT ${SETTINGS}, d.datistemplate AS template, pg_encoding_to_char(d.encoding) AS encoding,
                  pg_database_size(d.oid)::float8 AS "sizeBytes",
                  (SELECT count(*)::int FROM pg_stat_activity a WHERE a.datid = d.oid) AS sessions
             FROM pg_database d WHERE d.datname = $1`,
          [name],
        );
        await log(event, context, row ? `described ${JSON.stringify(name)}` : `there is no ${JSON.stringify(name)}`);
        if (!row) return null;
        const { template, ...described } = row;
        const extensions =
          row['allowConnections'] === true ? await connected(config, name, (client) => extensionsOf(client)) : null;
        return {
          ...(described as unknown as Described),
          protected: isProtected(name, template === true),
          extensions,
        };
      },
      { ...always, name: 'describe', order: 'none' },
    );
    m.handle(
      EventsAsked,
      async (event, context) => {
        const { after, limit } = event.data;
        const rows = await context.tx.all(
          'SELECT title, description, time FROM public.events WHERE time > $1 ORDER BY time, id LIMIT $2',
          [after, limit],
        );
        await log(event, context, `told of ${rows.length} events after ${after}`);
        return rows.map(({ title, description, time }) => ({
          title: title as string,
          description: description as string,
          time: (time as Date).toISOString(),
        }));
      },
      { ...always, name: 'events', order: 'none' },
    );
  });
}

type Answer<D> =
  D extends EventDefinition<infer _T, infer _D, infer _I, infer Response> ? NonNullable<Response> : never;
type Listed = Omit<Answer<typeof DatabaseListAsked>[number], 'protected'>;
type Described = Omit<Answer<typeof DatabaseDescribeAsked>, 'protected' | 'extensions'>;

const descriptions: ReadonlyMap<string, string> = new Map(
  definitions.map(({ type, description }) => [type, description ?? '']),
);

/** Writes the history: each event into the article's table `events`, and what has become of requests into `logs`. */
export const chronicle = defineModule('chronicle', (m) => {
  m.handle(
    'database.>',
    async ({ type, subject, source, id, time }, { tx }) => {
      const description = descriptions.get(type) ?? '';
      const about = subject === undefined ? description : `${description}: ${subject}`;
      await tx.run(
        'INSERT INTO public.events (title, description, time, source, event_id) VALUES ($1, $2, coalesce($3, now()), $4, $5)',
        [type, about, time ?? null, source, id],
      );
    },
    { ...always, name: 'events', order: 'none' },
  );
  m.handle(
    [DatabaseCreated, DatabaseAltered, DatabaseDropped],
    (event, context) => log(event, context, JSON.stringify(event.data)),
    { ...always, name: 'facts' },
  );
  m.handle(
    [DatabaseCreateFailed, DatabaseAlterFailed, DatabaseDropFailed],
    (event, context) => log(event, context, `${event.data.reason.code}: ${event.data.reason.message}`),
    { ...always, name: 'failures' },
  );
});
