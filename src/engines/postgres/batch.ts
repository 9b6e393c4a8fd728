import {
  dedupeNumber,
  timeOrderedNumber,
  type CommitBatch,
  type CommitResult,
  type DeliveryRow,
  type EventRow,
  type RefusedUnit,
  type StoreUnit,
} from '../../engine/log/index.ts';
import { stateNumbers } from './rows.ts';

/** Between the values of a column, and for none: neither can stand in an attribute or in JSON. See sql/0002.sql. */
const BETWEEN = '\x01';
const NONE = '\x02';

/** The number an event is found again by: above 0 when it rises with time, else below. */
export function dedupeOf({ source, id }: { readonly source: string; readonly id: string }): number {
  const number = timeOrderedNumber(id);
  return number === null ? -dedupeNumber(source, id) - 1 : number + 1;
}

/** A column of events as one text; null when all of it is none. */
function column(rows: readonly EventRow[], value: (row: EventRow) => string | null): string | null {
  let none = true;
  const values: string[] = [];
  for (const row of rows) {
    const text = value(row);
    if (text !== null) none = false;
    values.push(text ?? NONE);
  }
  return none ? null : values.join(BETWEEN);
}

export const textOf = ({ data }: EventRow): string | null => (typeof data === 'string' ? data : null);
export const hexOf = ({ data }: EventRow): string | null =>
  data instanceof Uint8Array ? Buffer.from(data).toString('hex') : null;

const askerOf = ({ askedBy }: EventRow): string | null => (askedBy === null ? null : String(askedBy));

/** Events as `commit` and `enqueue` take them: a text for each column. */
export function columnsOf(rows: readonly EventRow[]): {
  readonly values: readonly (string | null)[];
  readonly apart: boolean;
} {
  const numbers = rows.map(dedupeOf);
  return {
    values: [
      numbers.join(','),
      rows.map((row) => row.slot).join(','),
      rows.map((row) => row.id).join(BETWEEN),
      rows.map((row) => row.source).join(BETWEEN),
      rows.map((row) => row.type).join(BETWEEN),
      column(rows, (row) => row.subject),
      column(rows, (row) => row.time),
      column(rows, (row) => row.attributes),
      column(rows, textOf),
      column(rows, hexOf),
    ],
    // Two of one number may be one event twice: then each is looked for by itself.
    apart: new Set(numbers).size === numbers.length,
  };
}

const noColumns = Array.from({ length: 10 }, () => null);

/** Whether some of it may only be committed by who holds the leases. */
const isLeased = ({ states, put, remove, joined, arrangements }: CommitBatch): boolean =>
  states.length + put.length + remove.length + joined + arrangements.length > 0;

/**
 * The values of a call of `commit`.
 * @param epoch null for a transaction of its own
 * @param no which commit of its connection it is, from 1 on; null for a transaction of its own
 */
export function commitValues(batch: CommitBatch, member: number, epoch: number | null, no: number | null): unknown[] {
  const { units, states, put, remove, schedule, unschedule, arrangements, answers, recordedMs } = batch;
  const rows = units.flatMap((unit) => unit.rows);
  const { values, apart } = rows.length > 0 ? columnsOf(rows) : { values: noColumns, apart: true };
  const some = <T>(list: readonly T[], json: (one: T) => unknown): string | null =>
    list.length === 0 ? null : JSON.stringify(list.map(json));
  return [
    no,
    isLeased(batch) ? member : null,
    epoch,
    recordedMs,
    ...values,
    column(rows, askerOf),
    apart,
    shapes(units),
    states.length === 0 ? null : states.map(({ share }) => share),
    states.length === 0 ? null : states.map(({ version }) => version),
    states.length === 0 ? null : states.map(({ state }) => Buffer.from(state)),
    some(lastOf(put, remove), deliveryJson),
    some(remove, ({ subscription, position }) => ({ s: subscription, p: position })),
    some(schedule, ({ event, dueMs }) => ({ ...scheduledJson(event), due: dueMs })),
    some(unschedule, (one) => ({ ...one, dedupe: dedupeOf(one) })),
    some(arrangements, ({ subscription, held, kept, freed }) => ({
      subscription,
      held,
      kept: partJson(kept),
      freed: partJson(freed),
    })),
    some(answers, (answer) => answer),
  ];
}

const PARAMETERS = 26;
/**
 * A call of `commit`; its answer is read by {@link commitResult}.
 * @param also further columns
 */
export function commitStatement(name: string, also: string = ''): string {
  const parameters = Array.from({ length: PARAMETERS }, (_, index) => `$${index + 1}`);
  return `SELECT ${also}before, moment, first, positions, refused, scheduled, unscheduled, arranged
            FROM ${name}(${parameters.join(', ')})`;
}

/** Null when every event is unconditional: nearly always. */
function shapes(units: readonly StoreUnit[]): string | null {
  if (units.every((unit) => unit.expectedRevision === undefined && unit.scheduled === undefined)) return null;
  return JSON.stringify(
    units.map(({ rows, expectedRevision, subject, scheduled }) => ({
      events: rows.length,
      ...(expectedRevision === undefined
        ? {}
        : { expected: expectedRevision === 'none' ? 0 : expectedRevision, subject }),
      ...(scheduled === undefined ? {} : { scheduled }),
    })),
  );
}

/** One statement writes each row once: the last of what is put, and nothing of what is removed after all. */
function lastOf(put: CommitBatch['put'], remove: CommitBatch['remove']): readonly DeliveryRow[] {
  if (put.length === 0) return put;
  const last = new Map(put.map((row) => [`${row.subscription}/${row.position}`, row]));
  for (const { subscription, position } of remove) last.delete(`${subscription}/${position}`);
  return last.size === put.length ? put : [...last.values()];
}

const deliveryJson = (row: DeliveryRow): unknown => ({
  s: row.subscription,
  p: row.position,
  slot: row.slot,
  state: stateNumbers[row.state],
  holds: row.holds,
  attempts: row.attempts,
  at: row.atMs,
  key: row.key,
  records: JSON.stringify(row.records),
  data: row.data,
});

const scheduledJson = (event: EventRow): Record<string, unknown> => {
  const { slot, id, source, type, subject, time, attributes } = event;
  return {
    dedupe: dedupeOf(event),
    slot,
    id,
    source,
    type,
    subject,
    time,
    attributes,
    data: textOf(event),
    bytes: hexOf(event),
  };
};

function partJson(part: { readonly slots: readonly number[]; readonly state: Uint8Array } | null): unknown {
  return part && { slots: part.slots, state: Buffer.from(part.state).toString('hex') };
}

/** What `commit` answered. */
export function commitResult(batch: CommitBatch, row: Readonly<Record<string, unknown>>): CommitResult {
  const events = batch.units.reduce((sum, unit) => sum + unit.rows.length, 0);
  return {
    positions: positionsOf(events, row['first'], row['positions']),
    amidOthers: row['before'] === null ? null : { before: Number(row['before']), recordedMs: Number(row['moment']) },
    refused: (row['refused'] ?? []) as RefusedUnit[],
    scheduled: (row['scheduled'] ?? []) as CommitResult['scheduled'],
    unscheduled: (row['unscheduled'] ?? []) as boolean[],
    arranged: ((row['arranged'] ?? []) as (string | null)[]).map((share) => (share === null ? null : Number(share))),
  };
}

function positionsOf(events: number, first: unknown, positions: unknown): Float64Array {
  if (positions !== null && positions !== undefined) return Float64Array.from(positions as string[], Number);
  const from = Number(first);
  return Float64Array.from({ length: events }, (_, index) => from + index);
}
