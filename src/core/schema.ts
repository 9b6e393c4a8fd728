import type { StandardSchemaV1 } from '@standard-schema/spec';
import { carillonError, type ErrorDetails } from './errors.ts';

/** A validator of any library that speaks Standard Schema v1 (zod, valibot, arktype, ...). */
export type Schema<Input = unknown, Output = Input> = StandardSchemaV1<Input, Output>;

/** Refuses what is not a Standard Schema v1 validator, with `CARILLON_SCHEMA_INVALID`. */
export function assertSchema(schema: unknown, of: string): void {
  const standard = (schema as Partial<Schema> | null | undefined)?.['~standard'];
  if (standard?.version !== 1 || typeof standard.validate !== 'function') {
    throw carillonError('CARILLON_SCHEMA_INVALID', `the ${of} is no Standard Schema v1 validator`, { of });
  }
}

const pathOf = (issue: StandardSchemaV1.Issue): string =>
  (issue.path ?? []).map((step) => String(typeof step === 'object' ? step.key : step)).join('.');

/**
 * The value as the schema lets it through (defaults filled, unknown members dropped as the schema says).
 * Fails with `CARILLON_DATA_INVALID` (all issues with their paths), `CARILLON_SCHEMA_ASYNC`.
 */
export function validate<Output>(
  schema: Schema<unknown, Output>,
  value: unknown,
  of: string,
  details: ErrorDetails,
): Output {
  const result = schema['~standard'].validate(value);
  if (result instanceof Promise) {
    // Nobody will look at it; without this its failure would end the process.
    result.catch(() => undefined);
    throw carillonError('CARILLON_SCHEMA_ASYNC', `the schema of ${of} validates asynchronously`, details);
  }
  if (!result.issues) return result.value;
  const issues = result.issues.map((issue) => ({ path: pathOf(issue), message: issue.message }));
  const told = issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ');
  throw carillonError('CARILLON_DATA_INVALID', `data of ${of} is not valid: ${told}`, { ...details, issues });
}

/** Lets every value through: {@link typed} is for the compiler. */
const unchecked: Schema<never> = {
  '~standard': { version: 1, vendor: 'carillon', validate: (value) => ({ value: value as never }) },
};

/**
 * A schema for the compiler alone: `defineEvent('vm.start', { data: typed<{ vm: string }>() })`. Never looks at the
 * value; whoever sends something else is not refused. For types that other code guarantees already.
 */
export function typed<T>(): Schema<T> {
  return unchecked;
}
