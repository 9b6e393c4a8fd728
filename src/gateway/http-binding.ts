import {
  BATCH_MEDIA_TYPE,
  carillonError,
  EVENT_MEDIA_TYPE,
  type Event,
  type Limits,
  parseBatchText,
  parseEventText,
  toError,
  toEvent,
} from '../core/index.ts';
import { decodeHeaderValue } from './header-value.ts';
import { isJson, isText, isUtf8, type MediaType, parseMediaType } from './media-type.ts';
import { HttpError } from './problem.ts';

/** What a request carried: one event, or a batch in its order. */
export type Decoded =
  | { readonly mode: 'binary' | 'structured'; readonly event: Event }
  | { readonly mode: 'batch'; readonly events: readonly Event[] };

const REQUIRED = ['specversion', 'id', 'source', 'type'] as const;

/**
 * Reads a request as the CloudEvents HTTP binding 1.0.2 says, section 3: the content type decides between structured,
 * batched and binary mode. Fails with a catalogued error that names the attribute, or an {@link HttpError} 415.
 * @param rawHeaders names and values in turn, as Node hands them out: the only form that shows what was sent twice
 */
export function decodeRequest(rawHeaders: readonly string[], body: Uint8Array, limits: Limits): Decoded {
  const { contentType, attributes } = collect(rawHeaders);
  const media = contentType === undefined ? undefined : parseMediaType(contentType);
  if (contentType?.trim().toLowerCase().startsWith('application/cloudevents')) {
    return decodeFormat(media ?? null, contentType, attributes, body, limits);
  }
  assertRequired(attributes, contentType);
  return { mode: 'binary', event: decodeBinary(contentType, media ?? undefined, attributes, body, limits) };
}

interface Headers {
  readonly contentType: string | undefined;
  /** Attribute name → header value as sent. */
  readonly attributes: ReadonlyMap<string, string>;
}

function collect(rawHeaders: readonly string[]): Headers {
  let contentType: string | undefined;
  const attributes = new Map<string, string>();
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] as string).toLowerCase();
    const value = rawHeaders[index + 1] as string;
    if (name === 'content-type') {
      if (contentType !== undefined) throw invalid('datacontenttype', 'the header content-type was sent twice');
      contentType = value;
    } else if (name.startsWith('ce-')) {
      const attribute = name.slice('ce-'.length);
      if (attributes.has(attribute)) throw invalid(attribute, `the header ${name} was sent twice`);
      attributes.set(attribute, value);
    }
  }
  return { contentType, attributes };
}

function decodeFormat(
  media: MediaType | null,
  contentType: string,
  attributes: ReadonlyMap<string, string>,
  body: Uint8Array,
  limits: Limits,
): Decoded {
  if (media?.essence !== EVENT_MEDIA_TYPE && media?.essence !== BATCH_MEDIA_TYPE) {
    throw unsupported(
      `the content type ${JSON.stringify(contentType)} is not spoken here, only ${EVENT_MEDIA_TYPE} and ${BATCH_MEDIA_TYPE}`,
    );
  }
  if (!isUtf8(media))
    throw unsupported(`the content type ${JSON.stringify(contentType)} names a charset that is not UTF-8`);
  const text = decodeText(body);
  if (media.essence === BATCH_MEDIA_TYPE) {
    const [named] = attributes.keys();
    if (named !== undefined) {
      throw invalid(named, `a batch carries its attributes in its body; the header ce-${named} has no place beside it`);
    }
    return { mode: 'batch', events: parseBatchText(text, limits) };
  }
  const event = parseEventText(text, limits);
  assertSame(attributes, event);
  return { mode: 'structured', event };
}

/** Headers may repeat a structured event's attributes; a message that says two things is refused. */
function assertSame(attributes: ReadonlyMap<string, string>, event: Event): void {
  for (const [name, value] of attributes) {
    const inBody: unknown = name === 'data' ? undefined : event[name];
    // Strings, booleans and integers: their canonical text is what toString says.
    if (inBody === undefined || (inBody as string | number | boolean).toString() !== decodeHeaderValue(value, name)) {
      throw invalid(name, `the header ce-${name} says something else than the body of this structured event`);
    }
  }
}

function assertRequired(attributes: ReadonlyMap<string, string>, contentType: string | undefined): void {
  const missing = REQUIRED.filter((name) => !attributes.has(name));
  if (missing.length === 0) return;
  const headers = missing.map((name) => `ce-${name}`).join(', ');
  const also =
    missing.length === REQUIRED.length
      ? `; a whole event in the body needs the content type ${EVENT_MEDIA_TYPE}, not ${contentType === undefined ? 'none' : JSON.stringify(contentType)}`
      : '';
  throw carillonError('CARILLON_ATTRIBUTE_MISSING', `the request has no header ${headers}${also}`, {
    attribute: missing[0],
    missing,
  });
}

function decodeBinary(
  contentType: string | undefined,
  media: MediaType | undefined,
  headers: ReadonlyMap<string, string>,
  body: Uint8Array,
  limits: Limits,
): Event {
  // Without a prototype: a header ce-__proto__ is a name like any other, and refused as one.
  const attributes = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of headers) {
    if (name === 'datacontenttype') {
      throw invalid(
        name,
        'in binary mode the content-type header is the datacontenttype; ce-datacontenttype is forbidden',
      );
    }
    if (name === 'data' || name === 'data_base64') {
      throw carillonError('CARILLON_ATTRIBUTE_NAME', `the header ce-${name} names no attribute; data is the body`, {
        attribute: name,
      });
    }
    attributes[name] = decodeHeaderValue(value, name);
  }
  if (contentType !== undefined) attributes['datacontenttype'] = contentType.trim();
  const data = dataOf(media, body);
  return toEvent(data === undefined ? attributes : { ...attributes, data }, limits);
}

/** The body as the event's data: bytes stay bytes unless their type is JSON or text. */
function dataOf(media: MediaType | undefined, body: Uint8Array): unknown {
  if (body.length === 0) return undefined;
  if (media && isJson(media)) {
    if (!isUtf8(media)) throw unsupported('JSON is UTF-8; the charset of the content type is another one');
    return parseJson(body);
  }
  const text = media && isText(media) && isUtf8(media) ? decodeUtf8(body) : null;
  // A copy: the body may be a view of a larger buffer, which it would keep alive.
  return text ?? new Uint8Array(body);
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as unknown;
  } catch (error) {
    const message = `the body is not the JSON its content type says: ${toError(error).message}`;
    throw carillonError('CARILLON_DATA_NOT_JSON', message, { attribute: 'data' }, error);
  }
}

/** The body of structured and batched mode. */
function decodeText(body: Uint8Array): string {
  const text = decodeUtf8(body);
  if (text === null) throw carillonError('CARILLON_ENVELOPE_INVALID', 'the body is not valid UTF-8');
  if (text.trim() === '') throw carillonError('CARILLON_ENVELOPE_INVALID', 'the body is empty');
  return text;
}

function decodeUtf8(body: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    return null;
  }
}

const invalid = (attribute: string, message: string): Error =>
  carillonError('CARILLON_ATTRIBUTE_INVALID', message, { attribute });

const unsupported = (message: string): HttpError =>
  new HttpError(415, carillonError('CARILLON_ENVELOPE_INVALID', message, { header: 'content-type' }), {
    'accept-post': `${EVENT_MEDIA_TYPE}, ${BATCH_MEDIA_TYPE}, */*`,
  });
