/**
 * An event: an immutable fact, shaped as a CloudEvents 1.0.2 envelope. Attributes stand flat beside `data`, extension
 * attributes too. Attribute names and rules: {@link https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md}.
 */
export interface Event<Data = unknown, Type extends string = string> {
  readonly specversion: '1.0';
  /** Unique within `source`: the same `(source, id)` published again is the same event (G4). */
  readonly id: string;
  /** URI-reference of the context in which the event happened. */
  readonly source: string;
  readonly type: Type;
  readonly subject?: string;
  /** RFC 3339 time of the occurrence, kept exactly as given. */
  readonly time?: string;
  readonly datacontenttype?: string;
  readonly dataschema?: string;
  /** A JSON value, or a `Uint8Array` for binary data (`data_base64` on the wire). */
  readonly data: Data;
  /** What order is kept by, before `subject` (CloudEvents partitioning extension). */
  readonly partitionkey?: string;
  /** The producer's own order (CloudEvents sequence extension). Kept, compared by nobody here. */
  readonly sequence?: string;
  /** RFC 3339 time after which the event must not be handled any more (CloudEvents expirytime extension). */
  readonly expirytime?: string;
  /** RFC 3339 time at which the producer recorded the event (CloudEvents recordedtime extension). */
  readonly recordedtime?: string;
  /** W3C trace context of the producer. */
  readonly traceparent?: string;
  readonly tracestate?: string;
  /** Ties together all that followed from one cause (CloudEvents correlation extension). */
  readonly correlationid?: string;
  /** The id of the event that this one follows from (CloudEvents correlation extension). */
  readonly causationid?: string;
  /** Any other extension attribute: a string, boolean, 32-bit integer or, as text, a URI or time. */
  readonly [extension: string]: unknown;
}

/** An event as it stands in the log. */
export interface StoredEvent<Data = unknown, Type extends string = string> {
  /** Its place in the log: whole numbers that rise, not without holes. */
  readonly position: number;
  /** When the log took it, ms since the Unix epoch; never falls as positions rise. */
  readonly recordedMs: number;
  readonly event: Event<Data, Type>;
}

/** The attributes a maker of an event may set, beside `data`. `undefined` means not set. */
export interface EventAttributes {
  readonly id?: string | undefined;
  readonly source?: string | undefined;
  readonly subject?: string | undefined;
  readonly time?: string | undefined;
  readonly datacontenttype?: string | undefined;
  readonly dataschema?: string | undefined;
  readonly partitionkey?: string | undefined;
  readonly sequence?: string | undefined;
  readonly expirytime?: string | undefined;
  readonly recordedtime?: string | undefined;
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
  readonly correlationid?: string | undefined;
  readonly causationid?: string | undefined;
  readonly [extension: string]: string | number | boolean | undefined;
}

/** What order is kept by: `partitionkey`, else `subject`; null for an event that stands for itself. */
export function keyOf(event: Event): string | null {
  return event.partitionkey ?? event.subject ?? null;
}
