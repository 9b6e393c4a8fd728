import type { EventRow } from '../../src/engine/log/index.ts';

/** An event on its way into the log. */
export function eventRow(id: string, more: Partial<EventRow> = {}): EventRow {
  return {
    position: 0,
    recordedMs: 0,
    slot: 0,
    askedBy: null,
    id,
    source: 'test',
    type: 'thing.happened',
    subject: null,
    time: null,
    attributes: null,
    data: null,
    ...more,
  };
}
