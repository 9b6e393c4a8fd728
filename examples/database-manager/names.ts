import { createHash } from 'node:crypto';

/** Bytes of a name that PostgreSQL keeps (NAMEDATALEN - 1). It would cut a longer one off in silence. */
const NAME_BYTES_MAX = 63;

/** What names of databases begin with that belong to a job alone, from its beginning to its end. */
export const WORKING_PREFIX = 'carillon_job_';

/** Databases that a server, or its provider, cannot do without. */
const SYSTEM: ReadonlySet<string> = new Set([
  'postgres',
  'template0',
  'template1',
  'rdsadmin',
  'cloudsqladmin',
  'azure_maintenance',
  'azure_sys',
]);

/** Why this text cannot be the name of a database, role or extension here; null when it can. Anything else is taken exactly as it is. */
export function nameProblem(name: string): string | null {
  if (name === '') return 'is empty';
  if (name.includes('\0')) return 'holds a NUL';
  // Names are subjects of events too, and CloudEvents has no control characters in them.
  if (/\p{Cc}/u.test(name)) return 'holds a control character';
  if (/\p{Cs}/u.test(name)) return 'holds half of a surrogate pair';
  if (/\p{Noncharacter_Code_Point}/u.test(name)) return 'holds a noncharacter of Unicode';
  const bytes = Buffer.byteLength(name, 'utf8');
  return bytes > NAME_BYTES_MAX ? `has ${bytes} bytes in UTF-8, and PostgreSQL keeps ${NAME_BYTES_MAX}` : null;
}

/** Why a database of this name is not for events to make, change or drop; null when it is. */
export function protectionOf(name: string, own: readonly string[]): string | null {
  if (SYSTEM.has(name)) return `${JSON.stringify(name)} is a database of the server's own`;
  if (own.includes(name))
    return `${JSON.stringify(name)} is the database of the manager itself, or protected by its configuration`;
  if (name.startsWith(WORKING_PREFIX)) return `names that begin with ${WORKING_PREFIX} belong to jobs`;
  return null;
}

/**
 * The name that a database bears while the job of this event is at work on it. The same for each attempt, and nobody
 * else's.
 * @param manager the manager's own database: another manager on the same server may be given the same event
 */
export function workingName(manager: string, source: string, id: string): string {
  const digest = createHash('sha256').update(`${manager}\0${source}\0${id}`).digest('hex');
  return `${WORKING_PREFIX}${digest.slice(0, 40)}`;
}
