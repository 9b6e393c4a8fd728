import { assertAttribute, isAttributeText } from './cloudevents/attributes.ts';
import { assertContentType, draftEvent, type EventDraft, finishEvent, isDrafted } from './cloudevents/event-object.ts';
import type { AnyEventDefinition, DataOf, EventDefinition, EventOptions, InputOf } from './define.ts';
import { carillonError } from './errors.ts';
import type { Event, EventAttributes } from './event.ts';
import { uuidv7 } from './id.ts';
import { copyJson } from './json.ts';
import { defaultLimits } from './limits.ts';
import { assertSchema, type Schema, validate } from './schema.ts';

const DEFAULT_SOURCE = '/carillon';

/** Dot-separated tokens; `*` and `>` belong to patterns. Zs, Zl, Zp and Cf are what cannot be seen. */
const TYPE = /^[^\s*>.\p{Z}\p{Cf}]+(?:\.[^\s*>.\p{Z}\p{Cf}]+)*$/u;

let isoMs = Number.NaN;
let iso = '';

/** The moment in RFC 3339, made once per millisecond: making it costs more than the rest of the event. */
function isoTime(nowMs: number): string {
  if (nowMs !== isoMs) {
    iso = new Date(nowMs).toISOString();
    isoMs = nowMs;
  }
  return iso;
}

const optionNames: ReadonlySet<string> = new Set([
  'description',
  'data',
  'response',
  'subject',
  'key',
  'source',
  'dataschema',
]);

function assertOptions(type: string, options: Untyped): void {
  if (typeof type !== 'string' || !TYPE.test(type) || !isAttributeText(type)) {
    throw carillonError('CARILLON_TYPE_INVALID', `${JSON.stringify(type)} is no event type`, { type });
  }
  for (const name of Object.keys(options)) {
    if (!optionNames.has(name)) {
      throw carillonError('CARILLON_OPTION_INVALID', `defineEvent has no option "${name}"`, { option: name });
    }
  }
  if (options.data !== undefined) assertSchema(options.data, `data schema of ${type}`);
  if (options.response !== undefined) assertSchema(options.response, `response schema of ${type}`);
  if (options.source !== undefined) assertAttribute('source', options.source);
  if (options.dataschema !== undefined) assertAttribute('dataschema', options.dataschema);
  if (typeof options.subject === 'string') assertAttribute('subject', options.subject);
}

/** The options as the implementation sees them. */
type Untyped = EventOptions<Schema | undefined, Schema | undefined>;

/**
 * Defines an event type; call it to make events: `VmStart({ vm: 'web-1' }, { correlationid })`. Such an event has a
 * UUIDv7 for `id`, the time of the call for `time`, the schema's output for `data`; `attributes` replace each of the
 * defaults but the type. Without a data schema data is `unknown`; `typed` gives it a type that nothing checks.
 * Fails with `CARILLON_TYPE_INVALID`, `CARILLON_SCHEMA_INVALID`, `CARILLON_ATTRIBUTE_INVALID`, `CARILLON_OPTION_INVALID`.
 *
 * Limits: data nests no deeper than the default of `jsonDepthMax`.
 * Data is copied into the event (bytes are not); who changes the original later does not change the event.
 */
export function defineEvent<
  const Type extends string,
  DataSchema extends Schema | undefined = undefined,
  ResponseSchema extends Schema | undefined = undefined,
>(
  given: Type,
  options: EventOptions<DataSchema, ResponseSchema> = {},
): EventDefinition<Type, DataOf<DataSchema>, InputOf<DataSchema>, DataOf<ResponseSchema>> {
  const untyped = options as Untyped;
  assertOptions(given, untyped);
  const type = internalized(given) as Type;
  const definition = makerOf(type, untyped);
  Object.defineProperty(definition, 'name', { value: type });
  const properties: Pick<EventDefinition, keyof EventDefinition> = {
    type,
    description: untyped.description,
    dataSchema: untyped.data,
    responseSchema: untyped.response,
    is: (event: Event): event is Event => event.type === type,
  };
  return Object.freeze(Object.assign(definition, properties)) as unknown as EventDefinition<
    Type,
    DataOf<DataSchema>,
    InputOf<DataSchema>,
    DataOf<ResponseSchema>
  >;
}

/**
 * The same text, as V8 keeps the names of properties: one copy, compared by its address. A type put together at run
 * time is not; every event carries its type, and every look-up of handlers by it costs a quarter more then.
 */
function internalized(text: string): string {
  return Object.keys({ [text]: true })[0] as string;
}

function makerOf(type: string, options: Untyped): (given: unknown, attributes?: EventAttributes) => Event {
  const { data: schema, subject, key, source = DEFAULT_SOURCE, dataschema } = options;
  const details = { type };
  const plain = key === undefined && dataschema === undefined;

  const subjectOf = (data: unknown): string | undefined => {
    if (typeof subject !== 'function') return subject;
    const found = subject(data) ?? undefined;
    if (found !== undefined) assertAttribute('subject', found);
    return found;
  };

  const make = (given: unknown, attributes?: EventAttributes): Event => {
    const valid = schema === undefined ? given : validate(schema, given, type, details);
    const data =
      valid === undefined || valid instanceof Uint8Array ? valid : copyJson(valid, defaultLimits.jsonDepthMax);
    const nowMs = Date.now();
    if (attributes) assertGiven(type, attributes);
    else if (plain) {
      const draft = draftEvent(uuidv7(nowMs), source, type, subjectOf(data), isoTime(nowMs));
      draft['data'] = data;
      return finishEvent(draft, make as unknown as AnyEventDefinition);
    }
    const draft = draftEvent(
      attributes?.id ?? uuidv7(nowMs),
      attributes?.source ?? source,
      type,
      attributes?.subject ?? subjectOf(data),
      attributes?.time ?? isoTime(nowMs),
    );
    if (dataschema !== undefined) draft['dataschema'] = dataschema;
    if (key !== undefined) addKey(draft, attributes?.partitionkey ?? key(data));
    if (attributes) addGiven(draft, attributes);
    assertContentType(draft['datacontenttype'] as string | undefined, data);
    draft['data'] = data;
    return finishEvent(draft, make as unknown as AnyEventDefinition);
  };
  return make;
}

function addKey(draft: EventDraft, key: string | undefined): void {
  if (key === undefined || key === null) return;
  assertAttribute('partitionkey', key);
  draft['partitionkey'] = key;
}

function assertGiven(type: string, attributes: EventAttributes): void {
  for (const name of Object.keys(attributes)) {
    const value = attributes[name];
    if (value === undefined || value === null) continue;
    assertAttribute(name, value);
    if (name === 'type' && value !== type) {
      throw carillonError('CARILLON_ATTRIBUTE_INVALID', `attribute "type" of an event of ${type} cannot be another`, {
        attribute: name,
      });
    }
  }
}

function addGiven(draft: EventDraft, attributes: EventAttributes): void {
  for (const name of Object.keys(attributes)) {
    const value: unknown = attributes[name];
    if (value !== undefined && value !== null && !isDrafted(name)) draft[name] = value;
  }
}
