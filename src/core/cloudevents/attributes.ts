import { carillonError } from '../errors.ts';
import { isMediaType } from './media-type.ts';
import { timestampMs } from './timestamp.ts';
import { isTraceparent, isTracestate } from './trace-context.ts';
import { isAbsoluteUri, isUriReference } from './uri.ts';

/**
 * Whether the text is a CloudEvents String (specification 1.0.2, "Type System"): no control characters, no surrogates
 * out of their pairs, no noncharacters of Unicode.
 */
export function isAttributeText(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code >= 0x20 && code < 0x7f) continue;
    if (code < 0xa0) return false;
    if (code < 0xd800) continue;
    if (code < 0xe000) {
      const point = text.codePointAt(at) as number;
      if (point < 0x10000 || (point & 0xfffe) === 0xfffe) return false;
      at++;
    } else if ((code >= 0xfdd0 && code <= 0xfdef) || code >= 0xfffe) return false;
  }
  return true;
}

/** What an attribute's value must be, as the error says it, and whether a value is that. */
interface Rule {
  readonly must: string;
  readonly holds: (value: unknown) => boolean;
}

const rule = (must: string, holds: (text: string) => boolean): Rule => ({
  must,
  holds: (value) => typeof value === 'string' && holds(value),
});

const KNOWN_MAX = 4096;
const KNOWN_LENGTH_MAX = 256;

/** Remembers texts that passed: sources, types and media types are few and come with every event. Bounded. */
function remembering(holds: (text: string) => boolean): (text: string) => boolean {
  const known = new Set<string>();
  return (text) => {
    if (known.has(text)) return true;
    if (!holds(text)) return false;
    if (text.length <= KNOWN_LENGTH_MAX) {
      if (known.size === KNOWN_MAX) known.clear();
      known.add(text);
    }
    return true;
  };
}

const isNonEmpty = (text: string): boolean => text !== '' && isAttributeText(text);
const NON_EMPTY = 'a non-empty string without control characters, lone surrogates and noncharacters';
const nonEmpty = rule(NON_EMPTY, isNonEmpty);
const timestamp = rule('an RFC 3339 timestamp', (text) => timestampMs(text) !== undefined);

const rules: ReadonlyMap<string, Rule> = new Map([
  ['specversion', rule('"1.0"', (text) => text === '1.0')],
  ['id', nonEmpty],
  [
    'source',
    rule(
      'a non-empty URI-reference (RFC 3986)',
      remembering((text) => text !== '' && isUriReference(text)),
    ),
  ],
  ['type', rule(NON_EMPTY, remembering(isNonEmpty))],
  ['datacontenttype', rule('a media type (RFC 2046)', remembering(isMediaType))],
  ['dataschema', rule('an absolute URI (RFC 3986, section 4.3: no fragment)', remembering(isAbsoluteUri))],
  ['subject', nonEmpty],
  ['time', timestamp],
  // Extensions with a meaning of their own.
  ['partitionkey', nonEmpty],
  ['sequence', nonEmpty],
  ['expirytime', timestamp],
  ['recordedtime', timestamp],
  ['traceparent', rule('a W3C Trace Context traceparent', isTraceparent)],
  ['tracestate', rule('a W3C Trace Context tracestate', isTracestate)],
  ['correlationid', nonEmpty],
  ['causationid', nonEmpty],
]);

const isInt32 = (value: number): boolean => Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31;

/** Binary, URI, URI-reference and Timestamp stand in their text form: JSON does not tell them from String. */
const extension: Rule = {
  must: 'a string without control characters, lone surrogates and noncharacters, a boolean, or a 32-bit integer',
  holds: (value) =>
    typeof value === 'string'
      ? isAttributeText(value)
      : typeof value === 'boolean' || (typeof value === 'number' && isInt32(value)),
};

/** CloudEvents advises 20 and bounds nothing; we do, because an engine indexes names. */
const NAME = /^[a-z0-9]{1,64}$/;

function assertName(name: string): void {
  if (name === 'data' || !NAME.test(name)) {
    throw carillonError(
      'CARILLON_ATTRIBUTE_NAME',
      `${told(name)} cannot name an attribute: 1 to 64 of a-z and 0-9, and not "data"`,
      { attribute: name },
    );
  }
}

const TOLD_MAX = 100;

/** A value as an error message shows it, cut where it is long. */
function told(value: unknown): string {
  if (typeof value === 'string') {
    return value.length > TOLD_MAX ? `${JSON.stringify(value.slice(0, TOLD_MAX))}...` : JSON.stringify(value);
  }
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value);
  return Array.isArray(value) ? 'an array' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/**
 * Asserts that a present attribute has a name and a value that CloudEvents 1.0.2 allows, and, for the extensions
 * partitioning, sequence, expirytime, recordedtime, distributed tracing and correlation, the value they ask for.
 * Fails with `CARILLON_ATTRIBUTE_NAME`, `CARILLON_ATTRIBUTE_INVALID`; `details.attribute` names it.
 *
 * Limits: a name has 64 characters at most.
 */
export function assertAttribute(name: string, value: unknown): void {
  let known = rules.get(name);
  if (known === undefined) {
    assertName(name);
    known = extension;
  }
  if (known.holds(value)) return;
  throw carillonError('CARILLON_ATTRIBUTE_INVALID', `attribute "${name}" must be ${known.must}, not ${told(value)}`, {
    attribute: name,
  });
}

/**
 * Asserts every attribute of an event, and that the required ones are there. `undefined` and `null` mean absent.
 * Fails with `CARILLON_ATTRIBUTE_MISSING` and as {@link assertAttribute} does. @param attributes without `data`
 */
export function assertAttributes(attributes: Readonly<Record<string, unknown>>): void {
  for (const name of Object.keys(attributes)) {
    const value = attributes[name];
    if (value !== undefined && value !== null) assertAttribute(name, value);
    else if (!rules.has(name)) assertName(name);
  }
  for (const name of ['specversion', 'id', 'source', 'type']) {
    if (attributes[name] === undefined || attributes[name] === null) {
      throw carillonError('CARILLON_ATTRIBUTE_MISSING', `attribute "${name}" is missing`, { attribute: name });
    }
  }
}
