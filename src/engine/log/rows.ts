import { keyOf, reviveEvent, type Event } from '../../core/index.ts';
import type { EncodedEvent } from '../engine.ts';
import { slotOf } from './slots.ts';
import type { EventRow } from './stored.ts';

/** A row whose event is at hand. It is made once, and gets its place when it is committed. */
export interface FreshRow extends EventRow {
  position: number;
  recordedMs: number;
  askedBy: number | null;
  /**
   * As it was published. Its data is its own (events copy what they are made of), so the first subscription that
   * wants it may have it; for the others, and for bytes, it is only to be matched.
   */
  fresh: Event | null;
}

/** Attributes with a column of their own, and what is no attribute. The others go into one JSON column. */
const own = new Set(['specversion', 'id', 'source', 'type', 'subject', 'time', 'data']);

function otherAttributes(event: Event): string | null {
  let others: Record<string, unknown> | null = null;
  for (const name in event) {
    if (!own.has(name)) (others ??= {})[name] = event[name];
  }
  return others === null ? null : JSON.stringify(others);
}

/** An encoded event as a row for the log. @param shared whether it needs its slot */
export function rowOf({ event, data }: EncodedEvent, shared: boolean = false): FreshRow {
  return {
    position: 0,
    recordedMs: 0,
    slot: shared ? slotOf(keyOf(event) ?? event.id) : 0,
    askedBy: null,
    id: event.id,
    source: event.source,
    type: event.type,
    subject: event.subject ?? null,
    time: event.time ?? null,
    attributes: otherAttributes(event),
    data,
    fresh: event,
  };
}

/** The event of a row, with data of its own: no two calls share an object. @param data replaces the row's, when edited */
export function eventOf(row: EventRow, data: string | Uint8Array | null = row.data): Event {
  const attributes: Record<string, unknown> = {
    specversion: '1.0',
    id: row.id,
    source: row.source,
    type: row.type,
  };
  if (row.subject !== null) attributes['subject'] = row.subject;
  if (row.time !== null) attributes['time'] = row.time;
  if (row.attributes !== null) Object.assign(attributes, JSON.parse(row.attributes));
  return reviveEvent(attributes, decodeData(data));
}

function decodeData(data: string | Uint8Array | null): unknown {
  if (data === null) return undefined;
  return typeof data === 'string' ? JSON.parse(data) : data.slice();
}

/** The event to hand out: the published one if nobody has it yet, else one decoded from the row. */
export function takeEvent(row: EventRow | FreshRow): Event {
  if (!('fresh' in row) || row.fresh === null || typeof row.data !== 'string') return eventOf(row);
  const { fresh } = row;
  row.fresh = null;
  return fresh;
}

/** What order is kept by, from the row alone. */
export function keyOfRow(row: EventRow): string | null {
  if (row.attributes === null) return row.subject;
  const { partitionkey } = JSON.parse(row.attributes) as { partitionkey?: string };
  return partitionkey ?? row.subject;
}
