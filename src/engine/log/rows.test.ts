import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeEvent, type Event } from '../../core/index.ts';
import { eventOf, keyOfRow, rowOf, takeEvent } from './rows.ts';

const base = { specversion: '1.0', id: 'e', source: '/s', type: 't' };
const encoded = (event: Event, data: string | Uint8Array | null = JSON.stringify(event.data)) => ({ event, data });

describe('a row', () => {
  it('has columns for some attributes, and keeps the others together', () => {
    const event = makeEvent(
      { ...base, subject: 's', time: '2026-01-01T00:00:00Z', partitionkey: 'p', retries: 3, urgent: true },
      { n: 1 },
    );
    expect(rowOf(encoded(event))).toEqual({
      position: 0,
      recordedMs: 0,
      slot: 0,
      askedBy: null,
      id: 'e',
      source: '/s',
      type: 't',
      subject: 's',
      time: '2026-01-01T00:00:00Z',
      attributes: '{"partitionkey":"p","retries":3,"urgent":true}',
      data: '{"n":1}',
      fresh: event,
    });
  });

  it('of a bare event keeps nothing more', () => {
    const row = rowOf(encoded(makeEvent(base, undefined), null));
    expect([row.subject, row.time, row.attributes, row.data]).toEqual([null, null, null, null]);
  });

  it('gives back the event as it was', () => {
    const value = fc.oneof(
      fc.boolean(),
      fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      fc.constantFrom('a', 'ü', '日'),
    );
    const extensions = fc.dictionary(fc.constantFrom('traceid', 'retries', 'urgent', 'region'), value);
    fc.assert(
      fc.property(extensions, fc.jsonValue(), fc.option(fc.constantFrom('s', 'x y')), (extra, data, subject) => {
        const json = JSON.parse(JSON.stringify(data)) as unknown;
        const event = makeEvent({ ...base, ...(subject === null ? {} : { subject }), ...extra }, json);
        expect(eventOf(rowOf(encoded(event)))).toEqual(event);
      }),
    );
  });

  it('gives back bytes as bytes, and no data as none', () => {
    const bytes = new Uint8Array([1, 2]);
    const row = rowOf(encoded(makeEvent(base, bytes), bytes));
    const { data } = eventOf(row);
    expect(data).toEqual(bytes);
    expect(data).not.toBe(bytes);
    expect(eventOf(rowOf(encoded(makeEvent(base, undefined), null))).data).toBeUndefined();
  });

  it('gives each its own data, or data that replaces it', () => {
    const row = rowOf(encoded(makeEvent(base, { n: 1 })));
    expect(eventOf(row).data).not.toBe(eventOf(row).data);
    expect(eventOf(row, '"edited"').data).toBe('edited');
  });
});

describe('takeEvent', () => {
  it('hands out the published event once, then copies', () => {
    const event = makeEvent(base, { n: 1 });
    const row = rowOf(encoded(event));
    expect(takeEvent(row)).toBe(event);
    const second = takeEvent(row);
    expect([second === event, second]).toEqual([false, event]);
  });

  it('copies bytes always', () => {
    const bytes = new Uint8Array([1]);
    const event = makeEvent(base, bytes);
    expect(takeEvent(rowOf(encoded(event, bytes)))).not.toBe(event);
  });

  it('takes a row as it was read', () => {
    const { fresh: _fresh, ...read } = rowOf(encoded(makeEvent(base, { n: 1 })));
    expect(takeEvent(read).data).toEqual({ n: 1 });
  });
});

describe('keyOfRow', () => {
  it.each([
    [{ partitionkey: 'p', subject: 's' }, 'p'],
    [{ partitionkey: 'p' }, 'p'],
    [{ subject: 's', traceid: 'x' }, 's'],
    [{ subject: 's' }, 's'],
    [{ traceid: 'x' }, null],
    [{}, null],
  ])('of %j is %j', (attributes, key) => {
    expect(keyOfRow(rowOf(encoded(makeEvent({ ...base, ...attributes }, 1))))).toBe(key);
  });
});
