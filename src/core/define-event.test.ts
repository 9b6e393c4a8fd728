import { type } from 'arktype';
import * as v from 'valibot';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import type { HandlerFor } from './bus.ts';
import { toEvent } from './cloudevents/envelope.ts';
import { validatedBy } from './cloudevents/event-object.ts';
import type { AnyEventDefinition, DefinedEvent, EventDefinition, EventOf } from './define.ts';
import { defineEvent } from './define-event.ts';
import type { Event } from './event.ts';
import { typed } from './schema.ts';

const refused = (code: string, details: object = {}): object =>
  expect.objectContaining({ code, details: expect.objectContaining(details) }) as object;

const Start = defineEvent('vm.start', {
  description: 'Somebody wants a machine running',
  data: z.object({ vm: z.string(), memoryMb: z.number().default(512) }),
  response: z.object({ pid: z.number() }),
  subject: (data) => data.vm,
});

describe('defineEvent', () => {
  it('makes events with defaults for what is not given', () => {
    const before = Date.now();
    const event = Start({ vm: 'web-1' });
    expect(event).toStrictEqual({
      specversion: '1.0',
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
      source: '/carillon',
      type: 'vm.start',
      subject: 'web-1',
      time: expect.any(String),
      data: { vm: 'web-1', memoryMb: 512 },
    });
    expect(Date.parse(event.time as string)).toBeGreaterThanOrEqual(before);
    expect(Object.isFrozen(event)).toBe(true);
    expect(validatedBy(event)).toBe(Start);
    expect(toEvent({ ...event })).toStrictEqual(event);
  });

  it('tells what it is', () => {
    expect([Start.type, Start.description, Start.name]).toEqual([
      'vm.start',
      'Somebody wants a machine running',
      'vm.start',
    ]);
    expect(Start.dataSchema).toBeDefined();
    expect(Start.responseSchema).toBeDefined();
    const Bare = defineEvent('bare');
    expect([Bare.description, Bare.dataSchema, Bare.responseSchema]).toEqual([undefined, undefined, undefined]);
    expect(Start.is(Start({ vm: 'x' }))).toBe(true);
    expect(Start.is(Bare())).toBe(false);
    expect(Object.isFrozen(Start)).toBe(true);
  });

  it('lets attributes replace the defaults', () => {
    const attributes = {
      id: 'mine',
      source: 'https://example.com/',
      subject: 'other',
      time: '2020-02-29T12:00:00+01:00',
      partitionkey: 'p',
      custom: 7,
      datacontenttype: 'application/json',
    };
    expect(Start({ vm: 'x' }, attributes)).toStrictEqual({
      specversion: '1.0',
      type: 'vm.start',
      ...attributes,
      data: { vm: 'x', memoryMb: 512 },
    });
    const plain = Start({ vm: 'x' }, { subject: undefined, custom: undefined });
    expect([plain.subject, 'custom' in plain]).toEqual(['x', false]);
  });

  it('takes subject, key, source and dataschema from the definition', () => {
    const Placed = defineEvent('order.placed', {
      data: typed<{ id: string; customer?: string }>(),
      subject: 'orders',
      key: (data) => data.customer,
      source: '/shop',
      dataschema: 'https://example.com/order.json',
    });
    const event = Placed({ id: '1', customer: 'c' });
    expect(event).toMatchObject({
      subject: 'orders',
      partitionkey: 'c',
      source: '/shop',
      dataschema: 'https://example.com/order.json',
    });
    expect('partitionkey' in Placed({ id: '1' })).toBe(false);
    expect(Placed({ id: '1', customer: 'c' }, { partitionkey: 'k' }).partitionkey).toBe('k');
    const Quiet = defineEvent('quiet', { subject: () => undefined });
    expect('subject' in Quiet()).toBe(false);
  });

  it('has no data, or bytes, as well as JSON', () => {
    const Tick = defineEvent('tick');
    expect(Tick().data).toBeUndefined();
    expect(Tick(null).data).toBeNull();
    const bytes = Uint8Array.of(1);
    expect(Tick(bytes).data).toBe(bytes);
    expect(() => Tick({ bytes })).toThrow(refused('CARILLON_DATA_NOT_JSON', { path: 'data.bytes' }));
    expect(() => Tick(new Date(0))).toThrow(refused('CARILLON_DATA_NOT_JSON', { path: 'data' }));
    expect(() => defineEvent('x', { data: z.coerce.date() })('2020-01-01')).toThrow(refused('CARILLON_DATA_NOT_JSON'));
    expect(() => Tick({}, { datacontenttype: 'text/plain' })).toThrow(
      refused('CARILLON_ATTRIBUTE_INVALID', { attribute: 'datacontenttype' }),
    );
  });

  it('refuses data that the schema refuses, with the path', () => {
    expect(() => Start({ vm: 1 } as never)).toThrow(
      refused('CARILLON_DATA_INVALID', { type: 'vm.start', issues: [{ path: 'vm', message: expect.any(String) }] }),
    );
  });

  it.each([
    ['subject', ''],
    ['time', 'now'],
    ['source', ''],
    ['type', 'another'],
    ['specversion', '0.3'],
    ['custom', 0.5],
  ])('refuses the attribute %s: %j', (attribute, value) => {
    expect(() => Start({ vm: 'x' }, { [attribute]: value })).toThrow(
      refused('CARILLON_ATTRIBUTE_INVALID', { attribute }),
    );
  });

  it('refuses names that are none, such as data', () => {
    const wrong = JSON.parse('{"__proto__":"x"}') as Record<string, string>;
    for (const given of [{ data: 'x' }, { 'Not-A-Name': 'x' }, wrong]) {
      expect(() => Start({ vm: 'x' }, given)).toThrow(refused('CARILLON_ATTRIBUTE_NAME'));
    }
  });

  it('refuses a subject or key that the data does not make well', () => {
    const attempt = { attribute: 'subject' };
    expect(() => Start({ vm: '' })).toThrow(refused('CARILLON_ATTRIBUTE_INVALID', attempt));
    expect(() => Start({ vm: 'a\nb' })).toThrow(refused('CARILLON_ATTRIBUTE_INVALID', attempt));
    const Numbered = defineEvent('n', { key: () => 5 as never });
    expect(() => Numbered()).toThrow(refused('CARILLON_ATTRIBUTE_INVALID', { attribute: 'partitionkey' }));
  });

  it.each(['a', 'order.placed', 'com.github.pull_request.opened', 'a-b.c:d/e', '订单.已下', 'v1.2'])(
    'takes the type %s',
    (name) => {
      expect(defineEvent(name)().type).toBe(name);
    },
  );

  it.each([
    '',
    '.',
    'a.',
    '.a',
    'a..b',
    'a b',
    'a\u00a0b',
    '*',
    'a.*',
    'a>',
    'a.>',
    'a\tb',
    'a\u0000',
    'a\u200bb',
    '\ud800',
    '\ufdd0',
    5,
  ])('refuses the type %j', (name) => {
    expect(() => defineEvent(name as string)).toThrow(refused('CARILLON_TYPE_INVALID'));
  });

  it('refuses options that are wrong when it is called, not with the first event', () => {
    expect(() => defineEvent('x', { data: {} as never })).toThrow(refused('CARILLON_SCHEMA_INVALID'));
    expect(() => defineEvent('x', { response: (() => true) as never })).toThrow(refused('CARILLON_SCHEMA_INVALID'));
    expect(() => defineEvent('x', { source: 'a b' })).toThrow(
      refused('CARILLON_ATTRIBUTE_INVALID', { attribute: 'source' }),
    );
    expect(() => defineEvent('x', { dataschema: '/x' })).toThrow(
      refused('CARILLON_ATTRIBUTE_INVALID', { attribute: 'dataschema' }),
    );
    expect(() => defineEvent('x', { subject: '' })).toThrow(
      refused('CARILLON_ATTRIBUTE_INVALID', { attribute: 'subject' }),
    );
    expect(() => defineEvent('x', { schema: 1 } as never)).toThrow(
      refused('CARILLON_OPTION_INVALID', { option: 'schema' }),
    );
  });
});

describe('the types', () => {
  it('flow from zod', () => {
    expectTypeOf(Start).parameter(0).toEqualTypeOf<{ vm: string; memoryMb?: number | undefined }>();
    const event = Start({ vm: 'x' });
    expectTypeOf(event.data).toEqualTypeOf<{ vm: string; memoryMb: number }>();
    expectTypeOf(event.type).toEqualTypeOf<'vm.start'>();
    expectTypeOf(event).toExtend<DefinedEvent<unknown, string, { pid: number }>>();
    expectTypeOf<EventOf<typeof Start>['data']>().toEqualTypeOf<{ vm: string; memoryMb: number }>();
  });

  it('flow from valibot', () => {
    const Definition = defineEvent('v', {
      data: v.object({ at: v.pipe(v.string(), v.transform(Number)) }),
      response: v.string(),
      subject: (data) => data.at.toFixed(0),
    });
    expectTypeOf(Definition).parameter(0).toEqualTypeOf<{ at: string }>();
    const event = Definition({ at: '5' });
    expectTypeOf(event.data).toEqualTypeOf<{ at: number }>();
    expectTypeOf(Definition).toExtend<EventDefinition<'v', { at: number }, { at: string }, string>>();
    expect([event.data, event.subject]).toEqual([{ at: 5 }, '5']);
  });

  it('flow from arktype', () => {
    const Definition = defineEvent('a', {
      data: type({ name: 'string', 'age?': 'number' }),
      response: type('boolean'),
    });
    const event = Definition({ name: 'x' });
    expectTypeOf(event.data).toEqualTypeOf<{ name: string; age?: number }>();
    expectTypeOf(event).toExtend<DefinedEvent<unknown, string, boolean>>();
    expect(() => Definition({ name: 5 } as never)).toThrow(refused('CARILLON_DATA_INVALID'));
  });

  it('are given with typed, and unknown without a schema', () => {
    const Typed = defineEvent('t', { data: typed<{ n: number }>() });
    expectTypeOf(Typed({ n: 1 }).data).toEqualTypeOf<{ n: number }>();
    const Bare = defineEvent('b');
    expectTypeOf(Bare({ any: 'thing' }).data).toBeUnknown();
    // @ts-expect-error -- data of a type that does not allow undefined must be given.
    expect(Typed().data).toBeUndefined();
    // @ts-expect-error -- and must fit.
    expect(Typed({ n: 'x' }).data).toEqual({ n: 'x' });
  });

  it('narrow, and reach the handler', () => {
    const event: Event = Start({ vm: 'x' });
    if (Start.is(event)) expectTypeOf(event.data).toEqualTypeOf<{ vm: string; memoryMb: number }>();
    expectTypeOf<Parameters<HandlerFor<typeof Start>>[0]['data']>().toEqualTypeOf<{ vm: string; memoryMb: number }>();
    expectTypeOf<Awaited<ReturnType<HandlerFor<typeof Start>>>>().toEqualTypeOf<{ pid: number }>();
    const Other = defineEvent('other', { data: typed<5>() });
    expectTypeOf<Parameters<HandlerFor<readonly [typeof Start, typeof Other]>>[0]['type']>().toEqualTypeOf<
      'vm.start' | 'other'
    >();
    const all: readonly AnyEventDefinition[] = [Start, Other, defineEvent('bare')];
    expect(all).toHaveLength(3);
  });
});
