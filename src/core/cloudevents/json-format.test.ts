import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ErrorCode, isCarillonError } from '../errors.ts';
import { defaultLimits } from '../limits.ts';
import { makeEvent } from './event-object.ts';
import { formatBatch, formatEvent, parseBatchText, parseEvent, parseEventText } from './json-format.ts';

const attributes = { specversion: '1.0', id: 'A234', source: '/mycontext', type: 'com.example.someevent' };
const text = (members: object): string => JSON.stringify({ ...attributes, ...members });

function failure(code: ErrorCode, details: object = {}): object {
  return expect.objectContaining({ code, details: expect.objectContaining(details) }) as object;
}

function thrownBy(run: () => unknown): unknown {
  try {
    run();
    return undefined;
  } catch (thrown) {
    return thrown;
  }
}

describe('the JSON event format', () => {
  it('carries JSON data as it is, whatever datacontenttype declares JSON', () => {
    for (const datacontenttype of [
      undefined,
      'application/json',
      'text/json; charset=utf-8',
      'application/vnd.x+json',
    ]) {
      for (const data of [{ a: 1 }, [1], 'text', '"quoted"', 1, true, null, '']) {
        const event = parseEventText(text({ datacontenttype, data }));
        expect(event.data).toStrictEqual(data);
        expect(JSON.parse(formatEvent(event))).toStrictEqual(JSON.parse(text({ datacontenttype, data })));
      }
    }
  });

  it('carries other data as the text of its content', () => {
    const written = text({ datacontenttype: 'application/xml', data: '<much wow="xml"/>' });
    expect(parseEventText(written).data).toBe('<much wow="xml"/>');
    expect(formatEvent(parseEventText(written))).toBe(written);
    for (const data of [{}, 1, null]) {
      expect(() => parseEventText(text({ datacontenttype: 'application/xml', data }))).toThrow(
        failure('CARILLON_ATTRIBUTE_INVALID', { attribute: 'datacontenttype' }),
      );
    }
  });

  it('carries bytes as data_base64, JSON or not', () => {
    for (const datacontenttype of [undefined, 'application/json', 'application/octet-stream']) {
      const written = text({ datacontenttype, data_base64: 'AP8=' });
      const event = parseEventText(written);
      expect(event.data).toStrictEqual(Uint8Array.of(0, 255));
      expect('data_base64' in event).toBe(false);
      expect(formatEvent(event)).toBe(written);
    }
    expect(formatEvent(makeEvent(attributes, new Uint8Array(0)))).toBe(text({ data_base64: '' }));
  });

  it.each([
    { data: 1, data_base64: 'AA==' },
    { data: null, data_base64: 'AA==' },
    { data_base64: 'AA' },
    { data_base64: 'A A=' },
    { data_base64: 1 },
  ])('refuses %j', (members) => {
    expect(() => parseEventText(text(members))).toThrow(
      failure('CARILLON_ATTRIBUTE_INVALID', { attribute: 'data_base64' }),
    );
  });

  it('tells no data from null, and null attributes are absent', () => {
    expect(formatEvent(parseEventText(text({})))).toBe(text({}));
    expect(formatEvent(parseEventText(text({ data: null })))).toBe(text({ data: null }));
    expect(parseEventText(text({ subject: null, other: null, data_base64: null }))).toStrictEqual({
      ...attributes,
      data: undefined,
    });
  });

  it.each(
    Object.entries({
      id: 1,
      source: {},
      type: [],
      subject: 5,
      time: 0,
      datacontenttype: true,
      other: {},
      another: 0.5,
    }),
  )('refuses %s of the wrong JSON type', (name, value) => {
    expect(() => parseEventText(text({ [name]: value }))).toThrow(
      failure('CARILLON_ATTRIBUTE_INVALID', { attribute: name }),
    );
  });

  it.each(['', '{', 'nothing', '[]', '"x"', 'null', '1', '\ufeff{}', `${'['.repeat(100_000)}`])(
    'refuses the text %#',
    (wrong) => {
      expect(() => parseEventText(wrong)).toThrow(failure('CARILLON_ENVELOPE_INVALID'));
    },
  );

  it('touches no prototype', () => {
    const poison = '"__proto__":{"admin":true}';
    const start = JSON.stringify(attributes).slice(0, -1);
    expect(() => parseEventText(`${start},${poison}}`)).toThrow(
      failure('CARILLON_ATTRIBUTE_NAME', { attribute: '__proto__' }),
    );
    expect(() => parseEventText(`${start},"__proto__":null}`)).toThrow(
      failure('CARILLON_ATTRIBUTE_NAME', { attribute: '__proto__' }),
    );
    const event = parseEventText(
      `${start},"constructor":"c","data":{${poison},"constructor":{"prototype":{"admin":true}}}}`,
    );
    const data = event.data as Record<string, unknown>;
    expect(Object.getPrototypeOf(data)).toBe(Object.prototype);
    expect(Object.hasOwn(data, '__proto__')).toBe(true);
    expect(data['admin']).toBeUndefined();
    expect(({} as Record<string, unknown>)['admin']).toBeUndefined();
    expect(formatEvent(event)).toContain(`"data":{${poison}`);
    expect(event['constructor']).toBe('c');
  });

  it('bounds the size of an event', () => {
    const written = text({ data: 'x'.repeat(100) });
    const exact = { ...defaultLimits, eventBytesMax: written.length };
    const less = { ...defaultLimits, eventBytesMax: written.length - 1 };
    const refused = failure('CARILLON_EVENT_TOO_LARGE', { limit: 'eventBytesMax', size: written.length });
    expect(parseEventText(written, exact)).toStrictEqual(parseEvent(JSON.parse(written), exact));
    expect(() => parseEventText(written, less)).toThrow(refused);
    expect(() => parseEvent(JSON.parse(written), less)).toThrow(refused);
  });

  it('bounds how deep data nests, and survives what nests far deeper', () => {
    for (const depth of [65, 1000, 100_000]) {
      const nested = `${JSON.stringify(attributes).slice(0, -1)},"data":${'['.repeat(depth)}${']'.repeat(depth)}}`;
      expect(() => parseEventText(nested)).toThrow(failure('CARILLON_DATA_NOT_JSON'));
      expect(() => parseEvent(JSON.parse(nested))).toThrow(failure('CARILLON_DATA_NOT_JSON'));
    }
  });

  it('refuses to write data that datacontenttype denies, where an event was made by hand', () => {
    const event = { ...attributes, specversion: '1.0', datacontenttype: 'text/plain', data: { a: 1 } } as const;
    expect(() => formatEvent(event)).toThrow(failure('CARILLON_ATTRIBUTE_INVALID', { attribute: 'datacontenttype' }));
  });

  it('gives every event back', () => {
    const name = fc.stringMatching(/^[a-z0-9]{1,20}$/).filter((key) => key !== 'data' && !(key in attributes));
    const value = fc.oneof(fc.string(), fc.boolean(), fc.integer());
    // -0 is 0 in JSON.
    const json = fc.jsonValue().map((data) => JSON.parse(JSON.stringify(data)) as unknown);
    const data = fc.oneof(json, fc.uint8Array(), fc.constant(undefined));
    fc.assert(
      fc.property(fc.dictionary(name, value, { maxKeys: 5 }), data, (extensions, payload) => {
        const known = new Set(['subject', 'time', 'source', 'sequence', 'traceparent']);
        for (const key of Object.keys(extensions)) if (known.has(key)) delete extensions[key];
        const event = makeEvent({ ...attributes, ...extensions }, payload);
        expect(parseEventText(formatEvent(event))).toStrictEqual(event);
      }),
    );
  });

  it('throws nothing but errors of the catalogue, whatever JSON comes', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.jsonValue().map((data) => text({ data, other: data })),
        ),
        (wrong) => {
          expect(thrownBy(() => parseEventText(wrong))).toSatisfy(
            (thrown) => thrown === undefined || isCarillonError(thrown),
          );
        },
      ),
    );
  });
});

describe('the JSON batch format', () => {
  const one = makeEvent(attributes, { n: 1 });
  const two = makeEvent({ ...attributes, id: 'B' }, Uint8Array.of(1));

  it('gives every batch back, the empty one too', () => {
    for (const batch of [[], [one], [one, two]]) expect(parseBatchText(formatBatch(batch))).toStrictEqual(batch);
    expect(formatBatch([])).toBe('[]');
  });

  it.each(['{}', 'null', '', '[', formatEvent(one)])('refuses %s', (wrong) => {
    expect(() => parseBatchText(wrong)).toThrow(failure('CARILLON_ENVELOPE_INVALID'));
  });

  it('names the event that is wrong', () => {
    expect(() => parseBatchText(`[${formatEvent(one)},{"id":""}]`)).toThrow(
      failure('CARILLON_ATTRIBUTE_INVALID', { attribute: 'id', index: 1 }),
    );
    expect(() => parseBatchText('[[]]')).toThrow(failure('CARILLON_ENVELOPE_INVALID', { index: 0 }));
  });

  it('bounds the number of events, the size of each and the text', () => {
    const batch = formatBatch([one, two]);
    const longer = Math.max(formatEvent(one).length, formatEvent(two).length);
    const exact = { ...defaultLimits, batchEventsMax: 2, eventBytesMax: longer };
    expect(parseBatchText(batch, exact)).toHaveLength(2);
    expect(() => parseBatchText(batch, { ...defaultLimits, batchEventsMax: 1 })).toThrow(
      failure('CARILLON_BATCH_TOO_LARGE', { limit: 'batchEventsMax' }),
    );
    expect(() => parseBatchText(batch, { ...exact, eventBytesMax: longer - 1, batchEventsMax: 3 })).toThrow(
      failure('CARILLON_EVENT_TOO_LARGE', { limit: 'eventBytesMax' }),
    );
    expect(() => parseBatchText(batch, { ...exact, eventBytesMax: 10 })).toThrow(failure('CARILLON_BATCH_TOO_LARGE'));
  });
});
