import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defaultLimits, defineEvent, makeEvent, validatedBy, type Event } from '../core/index.ts';
import { EventGate, followUp } from './event-gate.ts';

const Placed = defineEvent('order.placed', {
  data: z.object({ total: z.coerce.number(), note: z.string().default('-') }),
});
const raw = (data: unknown, type = 'order.placed'): Event => ({
  specversion: '1.0',
  id: 'e',
  source: '/s',
  type,
  data,
});

function gate(limits = {}): EventGate {
  const made = new EventGate({ ...defaultLimits, ...limits });
  made.define(Placed);
  return made;
}

describe('check', () => {
  it('passes an event of the definition itself as it is', () => {
    const event = Placed({ total: 5 });
    expect(gate().check(event)).toBe(event);
  });

  it('gives a raw event the data its schema lets through, and marks it', () => {
    const event = gate().check(raw({ total: '5' }));
    expect(event).toMatchObject({ id: 'e', type: 'order.placed', data: { total: 5, note: '-' } });
    expect(validatedBy(event)).toBe(Placed);
  });

  it('validates a made event of another definition of the type anew', () => {
    const Other = defineEvent('order.placed');
    expect(() => gate().check(Other({ total: 'none' }))).toThrow(
      expect.objectContaining({ code: 'CARILLON_DATA_INVALID' }),
    );
    expect(gate().check(Other({ total: '7' })).data).toEqual({ total: 7, note: '-' });
  });

  it.each([
    ['data the schema refuses', raw({ total: 'much' }), 'CARILLON_DATA_INVALID'],
    ['data that is no JSON', raw({ at: () => 1 }, 'x'), 'CARILLON_DATA_NOT_JSON'],
    ['no source', { ...raw(1), source: undefined } as unknown as Event, 'CARILLON_ATTRIBUTE_MISSING'],
    ['an empty id', { ...raw(1), id: '' }, 'CARILLON_ATTRIBUTE_INVALID'],
  ])('refuses %s', (_what, event, code) => {
    expect(() => gate().check(event)).toThrow(expect.objectContaining({ code }));
  });

  it('takes a type nobody has defined as it is', () => {
    expect(gate().check(raw({ any: 'thing' }, 'x'))).toMatchObject({ type: 'x', data: { any: 'thing' } });
  });

  it('does not share data with the caller', () => {
    const data = { list: [1] };
    const event = gate().check(raw(data, 'x'));
    data.list.push(2);
    expect(event.data).toEqual({ list: [1] });
  });
});

describe('define', () => {
  it('takes a definition twice, and refuses another of its type', () => {
    const made = gate();
    made.define(Placed);
    expect(() => made.define(defineEvent('order.placed'))).toThrow(
      expect.objectContaining({ code: 'CARILLON_TYPE_CONFLICT', details: { type: 'order.placed' } }),
    );
  });
});

describe('encode', () => {
  it.each([
    ['JSON', { a: [1, null] }, '{"a":[1,null]}'],
    ['null', null, 'null'],
    ['nothing', undefined, null],
    ['bytes', new Uint8Array([1, 2]), new Uint8Array([1, 2])],
  ])('gives %s', (_what, data, encoded) => {
    const event = makeEvent({ specversion: '1.0', id: 'e', source: '/s', type: 'x' }, data);
    expect(gate().encode(event)).toEqual({ event, data: encoded });
  });

  it('refuses an event that is too large, attributes counted', () => {
    const event = (text: string, subject: string): Event =>
      makeEvent({ specversion: '1.0', id: 'e', source: '/s', type: 'x', subject }, text);
    const made = gate({ eventBytesMax: 100 });
    const encode = (text: number, subject: number) => () => made.encode(event('x'.repeat(text), 'y'.repeat(subject)));
    const refused = expect.objectContaining({
      code: 'CARILLON_EVENT_TOO_LARGE',
      details: { limit: 'eventBytesMax', size: 101 },
    });
    // Quotes, specversion, id, source and type take 9.
    for (const [text, subject] of [
      [90, 1],
      [1, 90],
    ] as const) {
      expect(encode(text, subject)).not.toThrow();
      expect(encode(text + 1, subject)).toThrow(refused);
    }
  });
});

describe('followUp', () => {
  const cause = makeEvent(
    {
      specversion: '1.0',
      id: 'cause',
      source: '/s',
      type: 'x',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      tracestate: 'a=b',
    },
    null,
  );

  it('is tied to its cause', () => {
    expect(followUp(Placed({ total: 1 }), cause)).toMatchObject({
      correlationid: 'cause',
      causationid: 'cause',
      traceparent: cause.traceparent,
      tracestate: 'a=b',
      data: { total: 1 },
    });
  });

  it('hands on the correlation of its cause, and is still valid', () => {
    const first = followUp(Placed({ total: 1 }), cause);
    const second = followUp(Placed({ total: 2 }), first);
    expect([second.correlationid, second.causationid]).toEqual(['cause', first.id]);
    expect(validatedBy(second)).toBe(Placed);
  });

  it('keeps what the event says itself, its own trace without the state of another', () => {
    const traceparent = '00-11111111111111111111111111111111-2222222222222222-01';
    const event = followUp(Placed({ total: 1 }, { correlationid: 'mine', causationid: 'that', traceparent }), cause);
    expect([event.correlationid, event.causationid, event.traceparent, event.tracestate]).toEqual([
      'mine',
      'that',
      traceparent,
      undefined,
    ]);
  });
});
