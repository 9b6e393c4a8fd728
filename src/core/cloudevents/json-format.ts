import { carillonError, isCarillonError, toError } from '../errors.ts';
import type { Event } from '../event.ts';
import { defaultLimits, type Limits } from '../limits.ts';
import { encodeBase64 } from './base64.ts';
import { toEvent } from './envelope.ts';
import { assertContentType } from './event-object.ts';

/** The limits that reading an event heeds. */
export type EventLimits = Pick<Limits, 'eventBytesMax' | 'jsonDepthMax'>;
/** The limits that reading a batch heeds. */
export type BatchLimits = EventLimits & Pick<Limits, 'batchEventsMax'>;

function assertSize(size: number, limits: EventLimits): void {
  if (size <= limits.eventBytesMax) return;
  throw carillonError(
    'CARILLON_EVENT_TOO_LARGE',
    `the event has ${size} characters, more than ${limits.eventBytesMax}`,
    {
      limit: 'eventBytesMax',
      size,
    },
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (thrown) {
    throw carillonError('CARILLON_ENVELOPE_INVALID', `the text is not JSON: ${toError(thrown).message}`, {}, thrown);
  }
}

/**
 * The event that a parsed JSON object describes in the CloudEvents JSON event format 1.0.2. `data` is the value itself;
 * where `datacontenttype` does not declare JSON it is the text of the content; `data_base64` gives a Uint8Array.
 * Member names such as `__proto__` are refused as attributes, and in data are members like any other: no prototype is
 * touched. Fails with `CARILLON_ENVELOPE_INVALID`, `CARILLON_ATTRIBUTE_MISSING`, `CARILLON_ATTRIBUTE_INVALID`,
 * `CARILLON_ATTRIBUTE_NAME`, `CARILLON_DATA_NOT_JSON` (nested too deep), `CARILLON_EVENT_TOO_LARGE`.
 *
 * Limits: `eventBytesMax`, `jsonDepthMax`.
 */
export function parseEvent(json: unknown, limits: EventLimits = defaultLimits): Event {
  const event = toEvent(json, limits);
  // Measured last: until then it may nest too deep for JSON.stringify.
  assertSize(JSON.stringify(json).length, limits);
  return event;
}

/** The event a text describes in the JSON event format, as {@link parseEvent} reads it. */
export function parseEventText(text: string, limits: EventLimits = defaultLimits): Event {
  assertSize(text.length, limits);
  return toEvent(parseJson(text), limits);
}

/**
 * The events of a text in the JSON batch format; it may hold none. One that cannot be read refuses the batch, with its
 * `details.index`. Fails as {@link parseEvent} does, and with `CARILLON_BATCH_TOO_LARGE`.
 *
 * Limits: `batchEventsMax`, and those of an event for each.
 */
export function parseBatchText(text: string, limits: BatchLimits = defaultLimits): Event[] {
  const { batchEventsMax, eventBytesMax } = limits;
  // Brackets and commas come on top of the events.
  if (text.length > batchEventsMax * (eventBytesMax + 1) + 2) refuseBatch(`has ${text.length} characters`, limits);
  const json = parseJson(text);
  if (!Array.isArray(json)) throw carillonError('CARILLON_ENVELOPE_INVALID', 'a batch must be an array of events');
  if (json.length > batchEventsMax) refuseBatch(`has ${json.length} events`, limits);
  const parse = text.length <= eventBytesMax ? toEvent : parseEvent;
  return json.map((candidate: unknown, index) => {
    try {
      return parse(candidate, limits);
    } catch (thrown) {
      if (!isCarillonError(thrown)) throw thrown;
      throw carillonError(
        thrown.code,
        `event ${index} of the batch: ${thrown.message}`,
        { ...thrown.details, index },
        thrown,
      );
    }
  });
}

function refuseBatch(what: string, { batchEventsMax, eventBytesMax }: BatchLimits): never {
  const message = `the batch ${what}; the limit is ${batchEventsMax} events of ${eventBytesMax} characters`;
  throw carillonError('CARILLON_BATCH_TOO_LARGE', message, { limit: 'batchEventsMax' });
}

/**
 * The event as text in the CloudEvents JSON event format 1.0.2: attributes in their order, then `data`, or
 * `data_base64` for a Uint8Array. What {@link parseEventText} makes of it is deep-equal to the event.
 * Fails with `CARILLON_ATTRIBUTE_INVALID` where data is not what `datacontenttype` says; no event made here is so.
 */
export function formatEvent(event: Event): string {
  assertContentType(event.datacontenttype, event.data);
  if (!(event.data instanceof Uint8Array)) return JSON.stringify(event);
  const { data, ...attributes } = event;
  return JSON.stringify({ ...attributes, data_base64: encodeBase64(data) });
}

/** The events as text in the JSON batch format, each as {@link formatEvent} writes it. */
export function formatBatch(events: readonly Event[]): string {
  return `[${events.map(formatEvent).join(',')}]`;
}
