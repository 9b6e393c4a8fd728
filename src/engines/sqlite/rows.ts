import type { AttemptRecord } from '../../core/index.ts';
import type { DeliveryRow, DeliveryState, EventRow } from '../../engine/log/index.ts';

/** As numbers in the database. */
export const stateNumbers: Readonly<Record<DeliveryState, number>> = {
  retrying: 0,
  begun: 1,
  held: 2,
  dead: 3,
  acked: 4,
};
const stateNames: readonly DeliveryState[] = ['retrying', 'begun', 'held', 'dead', 'acked'];

/** Columns of an event, under the names of {@link EventRow}. */
export const eventColumns = (table: string): string =>
  `${table}.position AS position, ${table}.recorded AS recordedMs, 0 AS slot, NULL AS askedBy, ${table}.id AS id, ${table}.source AS source,
   ${table}.type AS type, ${table}.subject AS subject, ${table}.time AS time, ${table}.attributes AS attributes,
   ${table}.data AS data`;

/** The columns of the event under a prefix, for joins. */
export const joinedEventColumns: string = ['recorded', 'id', 'source', 'type', 'subject', 'time', 'attributes', 'data']
  .map((column) => `e.${column} AS e_${column}`)
  .join(', ');

export interface RawDelivery {
  readonly subscription: number;
  readonly name: string;
  readonly position: number;
  readonly state: number;
  readonly key: string | null;
  readonly attempts: number;
  readonly at: number;
  readonly holds: number;
  readonly records: string;
  readonly data: string | null;
  readonly e_recorded?: number;
  readonly e_id?: string | null;
  readonly e_source?: string;
  readonly e_type?: string;
  readonly e_subject?: string | null;
  readonly e_time?: string | null;
  readonly e_attributes?: string | null;
  readonly e_data?: string | Uint8Array | null;
}

export function deliveryOf(raw: RawDelivery): DeliveryRow {
  return {
    subscription: raw.subscription,
    subscriptionName: raw.name,
    position: raw.position,
    slot: 0,
    state: stateNames[raw.state] as DeliveryState,
    key: raw.key,
    attempts: raw.attempts,
    atMs: raw.at,
    holds: raw.holds === 1,
    records: JSON.parse(raw.records) as AttemptRecord[],
    data: raw.data,
    event: raw.e_id === undefined || raw.e_id === null ? undefined : joinedEvent(raw),
  };
}

function joinedEvent(raw: RawDelivery): EventRow {
  return {
    position: raw.position,
    recordedMs: raw.e_recorded as number,
    slot: 0,
    askedBy: null,
    id: raw.e_id as string,
    source: raw.e_source as string,
    type: raw.e_type as string,
    subject: raw.e_subject ?? null,
    time: raw.e_time ?? null,
    attributes: raw.e_attributes ?? null,
    data: raw.e_data ?? null,
  };
}
