import { describe, expect, it } from 'vitest';
import { defineEvent } from '../define-event.ts';
import { toEvent } from './envelope.ts';
import { isMadeEvent, makeEvent, reviveEvent, validatedBy } from './event-object.ts';

const attributes = { specversion: '1.0', id: '1', source: '/s', type: 't' };

describe('an event', () => {
  it('is a frozen plain object of what is present', () => {
    const event = makeEvent({ ...attributes, subject: null, time: undefined, other: 5, partitionkey: 'k' }, { n: 1 });
    const expected = { ...attributes, other: 5, partitionkey: 'k', data: { n: 1 } };
    expect(event).toStrictEqual(expected);
    expect({ ...event }).toStrictEqual(expected);
    expect(JSON.parse(JSON.stringify(event))).toStrictEqual(expected);
    expect(structuredClone(event)).toStrictEqual(expected);
    expect(Object.isFrozen(event)).toBe(true);
    expect('subject' in event).toBe(false);
    expect(Object.keys(event).at(-1)).toBe('data');
  });

  it('keeps the canonical order of attributes', () => {
    const event = reviveEvent(
      { time: '2020-01-01T00:00:00Z', zebra: 1, type: 't', subject: 'x', source: '/s', id: '1' },
      1,
    );
    expect(Object.keys(event)).toEqual(['specversion', 'id', 'source', 'type', 'subject', 'time', 'zebra', 'data']);
  });

  it('may have an extension named constructor', () => {
    const event = makeEvent({ ...attributes, constructor: 'me' }, null);
    expect(Object.hasOwn(event, 'constructor') && event['constructor']).toBe('me');
  });

  it('is validated by makeEvent and not by reviveEvent', () => {
    expect(() => makeEvent({ ...attributes, id: '' }, 1)).toThrow(
      expect.objectContaining({ code: 'CARILLON_ATTRIBUTE_INVALID' }),
    );
    expect(reviveEvent({ ...attributes, id: '', subject: undefined }, 1)).toStrictEqual({
      ...attributes,
      id: '',
      data: 1,
    });
  });

  it('has text or bytes for data where datacontenttype does not declare JSON', () => {
    const xml = { ...attributes, datacontenttype: 'application/xml' };
    const refused = expect.objectContaining({
      code: 'CARILLON_ATTRIBUTE_INVALID',
      details: { attribute: 'datacontenttype' },
    });
    for (const data of [{}, null, 1]) expect(() => makeEvent(xml, data)).toThrow(refused);
    for (const data of ['<x/>', new Uint8Array(2), undefined]) expect(makeEvent(xml, data).data).toBe(data);
  });

  it('remembers which definition validated it, and its copies do not', () => {
    const Thing = defineEvent('thing');
    const event = Thing({ n: 1 });
    expect(validatedBy(event)).toBe(Thing);
    expect(validatedBy({ ...event })).toBeUndefined();
    expect(validatedBy(structuredClone(event))).toBeUndefined();
    expect(validatedBy(Object.create(event) as typeof event)).toBeUndefined();
    expect(validatedBy(reviveEvent({ ...attributes }, 1))).toBeUndefined();
    expect(validatedBy(makeEvent(attributes, 1, { validatedBy: Thing }))).toBe(Thing);
    expect([isMadeEvent(event), isMadeEvent({ ...event }), isMadeEvent(null), isMadeEvent('x')]).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });
});

describe('toEvent', () => {
  it('returns an event made here as it is, and a copy as another', () => {
    const event = makeEvent(attributes, { n: 1 });
    expect(toEvent(event)).toBe(event);
    expect(toEvent({ ...event })).not.toBe(event);
    expect(toEvent({ ...event })).toStrictEqual(event);
  });

  it('takes objects without a prototype', () => {
    expect(toEvent(Object.assign(Object.create(null) as object, attributes, { data: 1 })).data).toBe(1);
  });

  it('keeps bytes, and reads base64', () => {
    const bytes = Uint8Array.of(1, 2);
    expect(toEvent({ ...attributes, data: bytes }).data).toBe(bytes);
    expect(toEvent({ ...attributes, data_base64: 'AQI=' }).data).toStrictEqual(bytes);
    expect(toEvent({ ...attributes, data_base64: null, data: 1 }).data).toBe(1);
    expect(toEvent({ ...attributes, data_base64: undefined }).data).toBeUndefined();
  });

  it('tells an absent payload from null', () => {
    expect(toEvent(attributes).data).toBeUndefined();
    expect(toEvent({ ...attributes, data: null }).data).toBeNull();
  });

  it.each([undefined, null, 'x', 1, [], [attributes], new Map(), new Date(0), () => attributes])(
    'refuses %s',
    (candidate) => {
      expect(() => toEvent(candidate)).toThrow(expect.objectContaining({ code: 'CARILLON_ENVELOPE_INVALID' }));
    },
  );

  it('refuses data that JSON cannot say, and data nested too deep', () => {
    const refused = expect.objectContaining({ code: 'CARILLON_DATA_NOT_JSON' });
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    for (const data of [new Date(0), { a: 1n }, [undefined], circle, Number.NaN]) {
      expect(() => toEvent({ ...attributes, data })).toThrow(refused);
    }
    expect(toEvent({ ...attributes, data: [[1]] }, { jsonDepthMax: 2 }).data).toEqual([[1]]);
    expect(() => toEvent({ ...attributes, data: [[[]]] }, { jsonDepthMax: 2 })).toThrow(refused);
  });
});
