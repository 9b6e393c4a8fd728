import { carillonError } from '../../core/index.ts';

const SCHEMA_DEFAULT = 'carillon_outbox';

/** Who waits on it is woken by a NOTIFY. */
export const channelOf = (schema: string): string => `${schema} events`;

/** The name of the outbox's schema. Fails with `CARILLON_OPTION_INVALID`. */
export function schemaOf(given: string = SCHEMA_DEFAULT): string {
  if (typeof given === 'string' && given !== '' && !given.startsWith('pg_')) return given;
  throw optionInvalid('schema', `schema must be a name, and none that begins with pg_, not ${JSON.stringify(given)}`);
}

/** A whole number of an option. Fails with `CARILLON_OPTION_INVALID`. */
export function wholeNumber(option: string, given: number | undefined, usual: number, most: number): number {
  if (given === undefined) return usual;
  if (Number.isInteger(given) && given >= 1 && given <= most) return given;
  throw optionInvalid(option, `${option} must be a whole number from 1 to ${most}, not ${String(given)}`);
}

export const optionInvalid = (option: string, message: string): Error =>
  carillonError('CARILLON_OPTION_INVALID', message, { option });
