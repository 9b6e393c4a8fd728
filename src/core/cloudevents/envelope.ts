import { carillonError } from '../errors.ts';
import type { Event } from '../event.ts';
import { copyJson, isPlainObject } from '../json.ts';
import { defaultLimits, type Limits } from '../limits.ts';
import { decodeBase64 } from './base64.ts';
import { isMadeEvent, makeEvent } from './event-object.ts';

function refuse(what: string): never {
  throw carillonError('CARILLON_ENVELOPE_INVALID', `an event must be a plain object, not ${what}`);
}

function assertEnvelope(candidate: unknown): asserts candidate is Readonly<Record<string, unknown>> {
  if (typeof candidate !== 'object') refuse(`a ${typeof candidate}`);
  if (candidate === null) refuse('null');
  if (Array.isArray(candidate)) refuse('an array');
  if (!isPlainObject(candidate)) refuse('an instance of a class');
}

function decode(text: unknown): Uint8Array {
  const bytes = typeof text === 'string' ? decodeBase64(text) : undefined;
  if (bytes !== undefined) return bytes;
  throw carillonError('CARILLON_ATTRIBUTE_INVALID', '"data_base64" must be a string of base64 (RFC 4648), padded', {
    attribute: 'data_base64',
  });
}

/**
 * The event a plain object describes: attributes flat beside `data`, a JSON value or a Uint8Array, or `data_base64`.
 * All is validated as CloudEvents 1.0.2 asks; `null` and `undefined` attributes are absent, and so is `data_base64: null`.
 * An event made here comes back as it is. Fails with `CARILLON_ENVELOPE_INVALID`, `CARILLON_ATTRIBUTE_MISSING`,
 * `CARILLON_ATTRIBUTE_INVALID` (for `data` beside `data_base64` too), `CARILLON_ATTRIBUTE_NAME`, `CARILLON_DATA_NOT_JSON`.
 *
 * Limits: `jsonDepthMax`. JSON data is copied, bytes are not; its size is not measured: its size shows when it is encoded.
 */
export function toEvent(candidate: unknown, limits: Pick<Limits, 'jsonDepthMax'> = defaultLimits): Event {
  if (isMadeEvent(candidate)) return candidate;
  assertEnvelope(candidate);
  const { data: given, data_base64: base64, ...attributes } = candidate;
  let data = given;
  if (base64 !== undefined && base64 !== null) {
    if (given !== undefined) {
      throw carillonError('CARILLON_ATTRIBUTE_INVALID', '"data_base64" and "data" exclude each other', {
        attribute: 'data_base64',
      });
    }
    data = decode(base64);
  }
  const copied = data === undefined || data instanceof Uint8Array ? data : copyJson(data, limits.jsonDepthMax);
  return makeEvent(attributes, copied);
}
