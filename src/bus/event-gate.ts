import {
  carillonError,
  copyJson,
  isMadeEvent,
  makeEvent,
  toEvent,
  validate,
  validatedBy,
  type AnyEventDefinition,
  type Event,
  type Limits,
} from '../core/index.ts';
import type { EncodedEvent } from '../engine/index.ts';

/**
 * What an event must pass before it is stored: the envelope is a CloudEvent, data is what the schema of its type lets
 * through, and all of it fits the limits. Events made by the definition itself have been validated already.
 */
export class EventGate {
  readonly definitions: Map<string, AnyEventDefinition> = new Map();
  readonly limits: Limits;

  constructor(limits: Limits) {
    this.limits = limits;
  }

  define(definition: AnyEventDefinition): void {
    const known = this.definitions.get(definition.type);
    if (known !== undefined && known !== definition) {
      throw carillonError('CARILLON_TYPE_CONFLICT', `there are two definitions of "${definition.type}" on this bus`, {
        type: definition.type,
      });
    }
    this.definitions.set(definition.type, definition);
  }

  /** The event, validated; another object when the schema changed its data. @throws errors of kind `data` and `limit` */
  check(given: Event): Event {
    const event = isMadeEvent(given) ? given : toEvent(given, this.limits);
    const definition = this.definitions.get(event.type);
    if (definition?.dataSchema === undefined || validatedBy(event) === definition) return event;
    const data = this.checkData(event.type, event.data);
    const { data: _replaced, ...attributes } = event;
    return makeEvent(attributes, data, { validatedBy: definition });
  }

  /** Data for an event of that type, as its schema lets it through. */
  checkData(type: string, given: unknown): unknown {
    const schema = this.definitions.get(type)?.dataSchema;
    const data = schema === undefined ? given : validate(schema, given, type, { type });
    return data === undefined || data instanceof Uint8Array ? data : copyJson(data, this.limits.jsonDepthMax);
  }

  encode(event: Event): EncodedEvent {
    const { data: value } = event;
    const data = value === undefined ? null : value instanceof Uint8Array ? value : JSON.stringify(value);
    const size = (data?.length ?? 0) + attributesSize(event);
    if (size > this.limits.eventBytesMax) this.refuseSize(event, size);
    return { event, data };
  }

  refuseSize(event: Event, size: number): never {
    throw carillonError(
      'CARILLON_EVENT_TOO_LARGE',
      `this ${event.type} is ${size} long, more than limits.eventBytesMax (${this.limits.eventBytesMax})`,
      { limit: 'eventBytesMax', size },
    );
  }
}

function attributesSize(event: Event): number {
  let size = 0;
  for (const name in event) {
    const value = name === 'data' ? undefined : event[name];
    if (typeof value === 'string') size += value.length;
  }
  return size;
}

/**
 * An event that follows from another: correlation, causation and trace context are the cause's, unless the event says
 * otherwise (CloudEvents correlation and distributed tracing extensions).
 */
export function followUp(event: Event, cause: Event): Event {
  const { data, ...attributes } = event;
  const inherited: Record<string, unknown> = {
    correlationid: cause.correlationid ?? cause.id,
    causationid: cause.id,
  };
  if (cause.traceparent !== undefined && event.traceparent === undefined) {
    inherited['traceparent'] = cause.traceparent;
    if (cause.tracestate !== undefined) inherited['tracestate'] = cause.tracestate;
  }
  const definition = isMadeEvent(event) ? validatedBy(event) : undefined;
  return makeEvent({ ...inherited, ...attributes }, data, definition ? { validatedBy: definition } : {});
}
