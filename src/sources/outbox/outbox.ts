import {
  carillonError,
  copyJson,
  defaultLimits,
  formatEvent,
  isMadeEvent,
  makeEvent,
  resolveLimits,
  toEvent,
  validate,
  validatedBy,
  type AnyEventDefinition,
  type Event,
  type Limits,
  type TransactionClient,
} from '../../core/index.ts';
import { callWithin } from '../../postgres/index.ts';
import { channelOf, schemaOf } from './options.ts';

export interface OutboxOptions {
  /** The schema of the outbox's tables; the relay makes it. Default `carillon_outbox`. */
  readonly schema?: string;
  /** Definitions by which raw events are validated. Those that their definition made have been already. */
  readonly events?: readonly AnyEventDefinition[];
  /** As the bus has them: what it would refuse is refused here. */
  readonly limits?: Partial<Pick<Limits, 'eventBytesMax' | 'batchEventsMax' | 'jsonDepthMax'>>;
}

/** Publishes within transactions of an application whose bus has its log elsewhere. */
export interface Outbox {
  /**
   * Adds events to the transaction: they are published to the bus if it commits, and only then, in the order of such
   * calls. Takes no lock: transactions do not wait for each other. The same `(source, id)` again is the same event to the
   * bus. Resolves with their ids. What cannot be an event is refused before the database is asked, and the transaction
   * stays as it was.
   *
   * Fails with the codes of kind `data` and `limit` that `bus.publish` has, `CARILLON_BATCH_TOO_LARGE`,
   * `CARILLON_OPTION_INVALID` when the database has no outbox, `CARILLON_TRANSACTION_FAILED` when the database says no.
   * @param tx the client whose transaction it is; one of `pg` serves
   */
  publish(tx: TransactionClient, events: Event | readonly Event[]): Promise<readonly string[]>;
  /**
   * Wakes the relay, after the commit. Never needed: without it the relay looks every `lookMs`. Not part of `publish`,
   * because transactions that notify wait for each other when they commit.
   * @param client any client of that database, or a pool
   */
  wake(client: TransactionClient): Promise<void>;
}

/** The application's side of an outbox. Fails with `CARILLON_OPTION_INVALID`. */
export function outbox({ schema: given, events: definitions = [], limits: some = {} }: OutboxOptions = {}): Outbox {
  const schema = schemaOf(given);
  const limits = { ...defaultLimits, ...resolveLimits(some) };
  const byType = new Map(definitions.map((definition) => [definition.type, definition]));

  const admit = (raw: Event): Event => {
    const event = isMadeEvent(raw) ? raw : toEvent(raw, limits);
    const definition = byType.get(event.type);
    if (definition?.dataSchema === undefined || validatedBy(event) === definition) return event;
    const { data: _replaced, ...attributes } = event;
    const valid = validate(definition.dataSchema, event.data, event.type, { type: event.type });
    const data = valid === undefined || valid instanceof Uint8Array ? valid : copyJson(valid, limits.jsonDepthMax);
    return makeEvent(attributes, data, { validatedBy: definition });
  };

  const encode = (event: Event): string => {
    const text = formatEvent(event);
    if (text.length <= limits.eventBytesMax) return text;
    const message = `the event has ${text.length} characters, more than ${limits.eventBytesMax}`;
    throw carillonError('CARILLON_EVENT_TOO_LARGE', message, { limit: 'eventBytesMax', size: text.length });
  };

  return {
    publish: async (tx, raw) => {
      const all = Array.isArray(raw) ? (raw as readonly Event[]) : [raw as Event];
      if (all.length > limits.batchEventsMax) {
        const message = `the batch has ${all.length} events, more than ${limits.batchEventsMax}`;
        throw carillonError('CARILLON_BATCH_TOO_LARGE', message, { limit: 'batchEventsMax' });
      }
      const events = all.map(admit);
      if (events.length > 0) await callWithin(tx, schema, 'publish_all', [events.map(encode)]);
      return events.map(({ id }) => id);
    },
    wake: async (client) => {
      await client.query('SELECT pg_notify($1, $2)', [channelOf(schema), '']);
    },
  };
}
