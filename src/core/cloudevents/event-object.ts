import type { AnyEventDefinition } from '../define.ts';
import { carillonError } from '../errors.ts';
import type { Event } from '../event.ts';
import { assertAttributes } from './attributes.ts';
import { isJsonMediaType } from './media-type.ts';

/** An event while it is put together. */
export type EventDraft = Record<string, unknown>;

class Itself {
  constructor(object: object) {
    // Returning another object is what lets the subclass put its private field on it.
    return object;
  }
}

/**
 * Puts a private field on a plain object, so that events compare, spread and print as the plain objects they are, and
 * still cannot be forged. Measured beside a WeakMap: 70 ns an event against 700 ns.
 */
class Made extends Itself {
  readonly #definition: AnyEventDefinition | undefined;

  constructor(draft: EventDraft, definition: AnyEventDefinition | undefined) {
    super(draft);
    this.#definition = definition;
  }

  static has(value: object): boolean {
    return #definition in value;
  }

  static definitionOf(value: object): AnyEventDefinition | undefined {
    return #definition in value ? value.#definition : undefined;
  }
}

/** Brands and freezes a draft, in this order: a frozen object is to take no private fields in a coming ECMAScript. */
export function finishEvent(draft: EventDraft, definition: AnyEventDefinition | undefined): Event {
  return Object.freeze(new Made(draft, definition)) as Event;
}

/**
 * A draft with the attributes that nearly all events have, in their canonical order. One literal for each combination,
 * so that V8 knows few shapes of events.
 */
export function draftEvent(id: unknown, source: unknown, type: unknown, subject: unknown, time: unknown): EventDraft {
  if (time === undefined) {
    return subject === undefined
      ? { specversion: '1.0', id, source, type }
      : { specversion: '1.0', id, source, type, subject };
  }
  return subject === undefined
    ? { specversion: '1.0', id, source, type, time }
    : { specversion: '1.0', id, source, type, subject, time };
}

/** Whether {@link draftEvent} takes the attribute. */
export function isDrafted(name: string): boolean {
  switch (name) {
    case 'specversion':
    case 'id':
    case 'source':
    case 'type':
    case 'subject':
    case 'time':
      return true;
    default:
      return false;
  }
}

/** Fails with `CARILLON_ATTRIBUTE_INVALID` where data that is neither text nor bytes claims not to be JSON. */
export function assertContentType(datacontenttype: string | undefined, data: unknown): void {
  if (isJsonMediaType(datacontenttype)) return;
  if (data === undefined || typeof data === 'string' || data instanceof Uint8Array) return;
  throw carillonError(
    'CARILLON_ATTRIBUTE_INVALID',
    `attribute "datacontenttype" is ${JSON.stringify(datacontenttype)}, but data is neither a string nor a Uint8Array`,
    { attribute: 'datacontenttype' },
  );
}

/** How {@link makeEvent} differs from the default. */
export interface MakeOptions {
  /** The definition whose schema has let `data` through. */
  readonly validatedBy?: AnyEventDefinition;
}

/**
 * An event of these attributes, each of them validated; `undefined` and `null` mean absent. It is a frozen plain
 * object: `{ ...event }`, `JSON.stringify(event)` and deep comparison see the attributes that are present, and `data`.
 * Fails with `CARILLON_ATTRIBUTE_MISSING`, `CARILLON_ATTRIBUTE_INVALID`, `CARILLON_ATTRIBUTE_NAME`.
 *
 * Never looks at `data`, copies or freezes it: see {@link copyJson}, or `toEvent` for what comes from elsewhere.
 */
export function makeEvent<Data>(
  attributes: Readonly<Record<string, unknown>>,
  data: Data,
  options?: MakeOptions,
): Event<Data> {
  assertAttributes(attributes);
  assertContentType((attributes['datacontenttype'] ?? undefined) as string | undefined, data);
  return assemble(attributes, data, options?.validatedBy);
}

/**
 * The event again, of attributes and data that were an event's before: for engines that read back their own rows.
 * Nothing is validated, and no definition is remembered. Attributes that are `undefined` or `null` are left out.
 */
export function reviveEvent<Data>(attributes: Readonly<Record<string, unknown>>, data: Data): Event<Data> {
  return assemble(attributes, data, undefined);
}

function assemble<Data>(
  attributes: Readonly<Record<string, unknown>>,
  data: Data,
  definition: AnyEventDefinition | undefined,
): Event<Data> {
  const draft = draftEvent(
    attributes['id'],
    attributes['source'],
    attributes['type'],
    attributes['subject'] ?? undefined,
    attributes['time'] ?? undefined,
  );
  for (const name in attributes) {
    if (isDrafted(name)) continue;
    const value = attributes[name];
    if (value !== undefined && value !== null) draft[name] = value;
  }
  draft['data'] = data;
  return finishEvent(draft, definition) as Event<Data>;
}

/** Whether the value is an event made here, and so validated and frozen: a copy of one is not. */
export function isMadeEvent(value: unknown): value is Event {
  return typeof value === 'object' && value !== null && Made.has(value);
}

/**
 * The definition whose schema let this event's data through when the event was made; undefined for an event made
 * otherwise, and for a copy, whose data may be another: it is validated again when published.
 */
export function validatedBy(event: Event): AnyEventDefinition | undefined {
  return Made.definitionOf(event);
}
