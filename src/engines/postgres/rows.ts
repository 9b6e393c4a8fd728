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

/** A row as `pg` gives it with `rowMode: 'array'`: 64-bit integers are text. */
export type Cells = readonly unknown[];

/** Columns of an event, in the order of {@link eventOf}. */
export const eventColumns = (table: string): string =>
  ['position', 'recorded', 'slot', 'id', 'source', 'type', 'subject', 'time', 'attributes', 'data', 'bytes', 'asked_by']
    .map((column) => `${table}.${column}`)
    .join(', ');

/** @param from the index of its first cell */
export function eventOf(cells: Cells, from: number = 0): EventRow {
  const bytes = cells[from + 10] as Uint8Array | null;
  return {
    position: Number(cells[from]),
    recordedMs: Number(cells[from + 1]),
    slot: cells[from + 2] as number,
    id: cells[from + 3] as string,
    source: cells[from + 4] as string,
    type: cells[from + 5] as string,
    subject: cells[from + 6] as string | null,
    time: cells[from + 7] as string | null,
    attributes: cells[from + 8] as string | null,
    data: bytes === null ? (cells[from + 9] as string | null) : new Uint8Array(bytes),
    askedBy: cells[from + 11] as number | null,
  };
}

/** Columns of a delivery, in the order of {@link deliveryOf}. */
export const deliveryColumns =
  'd.subscription, d.position, d.slot, d.state, d.key, d.attempts, d.at, d.holds, d.records, d.data';

const DELIVERY_CELLS = 10;

/** @param cells those of the delivery, then its subscription's name, then those of its event */
export function deliveryOf(cells: Cells): DeliveryRow {
  const event = DELIVERY_CELLS + 1;
  return {
    subscription: cells[0] as number,
    position: Number(cells[1]),
    slot: cells[2] as number,
    state: stateNames[cells[3] as number] as DeliveryState,
    key: cells[4] as string | null,
    attempts: cells[5] as number,
    atMs: Number(cells[6]),
    holds: cells[7] as boolean,
    records: JSON.parse(cells[8] as string) as AttemptRecord[],
    data: cells[9] as string | null,
    subscriptionName: (cells[DELIVERY_CELLS] ?? '') as string,
    event: cells.length > event && cells[event] !== null ? eventOf(cells, event) : undefined,
  };
}
