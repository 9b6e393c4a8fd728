import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Event, EventAttributes } from './event.ts';
import type { Schema } from './schema.ts';

/** What {@link defineEvent} may be told about a type. */
export interface EventOptions<DataSchema extends Schema | undefined, ResponseSchema extends Schema | undefined> {
  /** A sentence for people: shown by `carillon handlers` and the documentation. */
  readonly description?: string;
  /** Validates and types `data`. Synchronous, and its output must be JSON. Without one, data is `unknown`. */
  readonly data?: DataSchema;
  /** Validates and types what a handler answers to `request`. */
  readonly response?: ResponseSchema;
  /** The default `subject`, from the data; none for `undefined`. */
  readonly subject?: string | ((data: DataOf<DataSchema>) => string | undefined);
  /** The default `partitionkey`, where order is kept by something other than the subject. */
  readonly key?: (data: DataOf<DataSchema>) => string | undefined;
  /** The default `source`. Default `/carillon`. */
  readonly source?: string;
  /** The `dataschema` attribute: an absolute URI that names the schema. */
  readonly dataschema?: string;
}

export type DataOf<S extends Schema | undefined> = S extends Schema ? StandardSchemaV1.InferOutput<S> : unknown;
export type InputOf<S extends Schema | undefined> = S extends Schema ? StandardSchemaV1.InferInput<S> : unknown;

declare const responseOf: unique symbol;

/** An event made by a definition: it also knows, for the compiler alone, what answers it. */
export interface DefinedEvent<Data = unknown, Type extends string = string, Response = unknown>
  extends Event<Data, Type> {
  readonly [responseOf]?: Response;
}

/** What a definition is called with. Data may be left out where `undefined` is data enough. */
export type Given<Input> = undefined extends Input
  ? [data?: Input, attributes?: EventAttributes]
  : [data: Input, attributes?: EventAttributes];

/**
 * An event type: call it to make an event of it. Knows no handler; handlers name it.
 * Calling fails with `CARILLON_DATA_INVALID`, `CARILLON_DATA_NOT_JSON`, `CARILLON_ATTRIBUTE_INVALID`.
 */
export interface EventDefinition<Type extends string = string, Data = unknown, Input = Data, Response = unknown> {
  (...given: Given<Input>): DefinedEvent<Data, Type, Response>;
  readonly type: Type;
  readonly description: string | undefined;
  readonly dataSchema: Schema<unknown, Data> | undefined;
  readonly responseSchema: Schema<unknown, Response> | undefined;
  /** Whether an event is of this type. Narrows it. */
  is(event: Event): event is Event<Data, Type>;
}

/** Any event definition, whatever its types. */
// The data parameter is contravariant: only `never` accepts every definition.
export interface AnyEventDefinition {
  (data: never, attributes?: EventAttributes): Event;
  readonly type: string;
  readonly description: string | undefined;
  readonly dataSchema: Schema | undefined;
  readonly responseSchema: Schema | undefined;
}

/** The event type a definition makes. */
export type EventOf<D> =
  D extends EventDefinition<infer Type, infer Data, infer _In, infer _Out> ? Event<Data, Type> : Event;
