import { defineEvent } from 'carillon';
import { z } from 'zod';
import { nameProblem } from './names.ts';
import { reasons, type ReasonCode } from './reasons.ts';

/** A name, exactly as it is to be; what cannot be one is refused when the event is made (`CARILLON_DATA_INVALID`). */
const name = z.string().superRefine((value, context) => {
  const problem = nameProblem(value);
  if (problem !== null) context.addIssue({ code: 'custom', message: `${JSON.stringify(value)} ${problem}` });
});

/** Sessions at once; -1 for no bound, 0 for none at all. */
const connectionLimit = z.int().min(-1).max(2_147_483_647);
const extensions = z.array(name).max(100);
const source = '/database-manager';
const subject = (data: { readonly name: string }): string => data.name;

const reason = z.object({
  code: z.enum(Object.keys(reasons) as [ReasonCode, ...ReasonCode[]]),
  message: z.string(),
  fix: z.string(),
});
const failed = z.object({ name: z.string(), reason });

export const DatabaseCreateRequested = defineEvent('database.create.requested', {
  description: 'Somebody wants a database made',
  data: z.strictObject({
    name,
    /** Default: whom the manager logs in as. */
    owner: name.optional(),
    connectionLimit: connectionLimit.default(-1),
    extensions: extensions.default([]),
  }),
  source,
  subject,
});

export const DatabaseAlterRequested = defineEvent('database.alter.requested', {
  description: 'Somebody wants a database changed; what is left out stays as it is',
  data: z
    .strictObject({
      name,
      rename: name.optional(),
      owner: name.optional(),
      connectionLimit: connectionLimit.optional(),
      allowConnections: z.boolean().optional(),
      addExtensions: extensions.default([]),
      dropExtensions: extensions.default([]),
      /** Ends the sessions that are in the way of a new name. */
      force: z.boolean().default(false),
    })
    .refine(
      ({ name: _name, force: _force, addExtensions, dropExtensions, ...rest }) =>
        addExtensions.length + dropExtensions.length > 0 || Object.values(rest).some((value) => value !== undefined),
      'nothing is to be changed',
    ),
  source,
  subject,
});

export const DatabaseDropRequested = defineEvent('database.drop.requested', {
  description: 'Somebody wants a database dropped, with all that is in it',
  data: z.strictObject({
    name,
    /** Ends the sessions of that database; without it a database in use stays. */
    force: z.boolean().default(false),
  }),
  source,
  subject,
});

const settings = {
  name: z.string(),
  oid: z.number(),
  owner: z.string(),
  connectionLimit: z.number(),
  allowConnections: z.boolean(),
};

export const DatabaseCreated = defineEvent('database.created', {
  description: 'A database was made',
  data: z.object({ ...settings, extensions: z.array(z.string()) }),
  source,
  subject,
});

export const DatabaseAltered = defineEvent('database.altered', {
  description: 'A database was changed',
  data: z.object({ ...settings, before: z.object(settings) }),
  source,
  subject,
});

export const DatabaseDropped = defineEvent('database.dropped', {
  description: 'A database was dropped',
  data: z.object({ name: z.string(), oid: z.number() }),
  source,
  subject,
});

export const DatabaseCreateFailed = defineEvent('database.create.failed', {
  description: 'A database was not made',
  data: failed,
  source,
  subject,
});

export const DatabaseAlterFailed = defineEvent('database.alter.failed', {
  description: 'A database was not changed',
  data: failed.extend({
    /** Whether extensions were changed before the rest was refused. */
    extensionsChanged: z.boolean(),
  }),
  source,
  subject,
});

export const DatabaseDropFailed = defineEvent('database.drop.failed', {
  description: 'A database was not dropped',
  data: failed,
  source,
  subject,
});

export const DatabaseListAsked = defineEvent('database.list.asked', {
  description: 'Somebody asks which databases there are',
  data: z.strictObject({}),
  response: z.array(z.object({ ...settings, protected: z.boolean() })),
  source,
});

export const DatabaseDescribeAsked = defineEvent('database.describe.asked', {
  description: 'Somebody asks how a database stands',
  data: z.strictObject({ name }),
  /** Null: there is none of that name. */
  response: z
    .object({
      ...settings,
      protected: z.boolean(),
      encoding: z.string(),
      sizeBytes: z.number(),
      sessions: z.number(),
      /** Null where nobody may connect. */
      extensions: z.array(z.string()).nullable(),
    })
    .nullable(),
  source,
  subject,
});

export const EventsAsked = defineEvent('database.events.asked', {
  description: 'Somebody asks which events came after a moment',
  data: z.strictObject({ after: z.iso.datetime({ offset: true }), limit: z.int().min(1).max(1000).default(100) }),
  response: z.array(z.object({ title: z.string(), description: z.string(), time: z.string() })),
  source,
});

/** Each event of this example, by type. */
export const definitions = [
  DatabaseCreateRequested,
  DatabaseAlterRequested,
  DatabaseDropRequested,
  DatabaseCreated,
  DatabaseAltered,
  DatabaseDropped,
  DatabaseCreateFailed,
  DatabaseAlterFailed,
  DatabaseDropFailed,
  DatabaseListAsked,
  DatabaseDescribeAsked,
  EventsAsked,
] as const;
