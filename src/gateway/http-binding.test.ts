import { CloudEvent, HTTP } from 'cloudevents';
import { describe, expect, it } from 'vitest';
import { defaultLimits } from '../core/index.ts';
import { decodeRequest } from './http-binding.ts';

const binary = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/test', 'ce-type': 'test.happened' };
const event = { specversion: '1.0', id: '1', source: '/test', type: 'test.happened' };

function decode(headers: Record<string, string> | readonly string[], body: string | Uint8Array = '') {
  const raw = Array.isArray(headers) ? headers : Object.entries(headers).flat();
  return decodeRequest(raw, typeof body === 'string' ? Buffer.from(body) : body, defaultLimits);
}

const structured = (body: unknown, headers = {}, contentType = 'application/cloudevents+json') =>
  decode({ 'content-type': contentType, ...headers }, typeof body === 'string' ? body : JSON.stringify(body));

const batch = (body: unknown, headers = {}) => structured(body, headers, 'application/cloudevents-batch+json');

const failure = (code: string, attribute?: string): Error =>
  expect.objectContaining({
    code,
    ...(attribute === undefined ? {} : { details: expect.objectContaining({ attribute }) }),
  }) as Error;

describe('binary mode', () => {
  it('reads attributes from headers in any case and data from the body', () => {
    const headers = {
      ...binary,
      'CE-Subject': 'a%20b',
      'ce-myext': '5',
      'Content-Type': 'application/json; charset=UTF-8',
    };
    expect(decode(headers, '{"a":[1,null]}')).toEqual({
      mode: 'binary',
      event: {
        ...event,
        subject: 'a b',
        myext: '5',
        datacontenttype: 'application/json; charset=UTF-8',
        data: { a: [1, null] },
      },
    });
  });

  it('has no data when the body is empty', () => {
    expect(decode({ ...binary, 'content-type': 'application/json' })).toEqual({
      mode: 'binary',
      event: { ...event, datacontenttype: 'application/json', data: undefined },
    });
  });

  it.each([
    ['application/vnd.api+json', '"text"', 'text'],
    ['text/plain', 'grüß', 'grüß'],
    ['application/xml', '<a/>', '<a/>'],
    ['image/png', 'bytes', new Uint8Array(Buffer.from('bytes'))],
    ['text/plain; charset=iso-8859-1', 'latin', new Uint8Array(Buffer.from('latin'))],
  ])('keeps %s as what it is', (contentType, body, data) => {
    expect(decode({ ...binary, 'content-type': contentType }, body)).toMatchObject({ event: { data } });
  });

  it('keeps bytes that are no UTF-8 as bytes, and a body without a type too', () => {
    const bytes = new Uint8Array([0xff, 0xfe, 0]);
    expect(decode({ ...binary, 'content-type': 'text/plain' }, bytes)).toMatchObject({ event: { data: bytes } });
    expect(decode(binary, bytes)).toMatchObject({ event: { data: bytes } });
  });

  it('says which headers are missing, and how a whole event is sent', () => {
    expect(() => decode({ 'content-type': 'application/json' }, '{}')).toThrow(
      expect.objectContaining({
        code: 'CARILLON_ATTRIBUTE_MISSING',
        message:
          'the request has no header ce-specversion, ce-id, ce-source, ce-type; a whole event in the body needs the ' +
          'content type application/cloudevents+json, not "application/json"',
        details: { attribute: 'specversion', missing: ['specversion', 'id', 'source', 'type'] },
      }),
    );
    const { 'ce-source': _source, ...rest } = binary;
    expect(() => decode(rest)).toThrow(failure('CARILLON_ATTRIBUTE_MISSING', 'source'));
  });

  it.each([
    ['an attribute sent twice', ['ce-id', '2'], 'CARILLON_ATTRIBUTE_INVALID', 'id'],
    [
      'a content type sent twice',
      ['content-type', 'a/b', 'content-type', 'a/b'],
      'CARILLON_ATTRIBUTE_INVALID',
      'datacontenttype',
    ],
    ['ce-datacontenttype', ['ce-datacontenttype', 'a/b'], 'CARILLON_ATTRIBUTE_INVALID', 'datacontenttype'],
    ['a content type that is none', ['content-type', 'json'], 'CARILLON_ATTRIBUTE_INVALID', 'datacontenttype'],
    ['ce-data', ['ce-data', '1'], 'CARILLON_ATTRIBUTE_NAME', 'data'],
    ['ce-data_base64', ['ce-data_base64', 'AA=='], 'CARILLON_ATTRIBUTE_NAME', 'data_base64'],
    ['a name with a hyphen', ['ce-my-ext', '1'], 'CARILLON_ATTRIBUTE_NAME', 'my-ext'],
    ['an empty name', ['ce-', '1'], 'CARILLON_ATTRIBUTE_NAME', ''],
    ['the name __proto__', ['ce-__proto__', '1'], 'CARILLON_ATTRIBUTE_NAME', '__proto__'],
    ['the name constructor in capitals', ['ce-Constructor-x', '1'], 'CARILLON_ATTRIBUTE_NAME', 'constructor-x'],
  ])('refuses %s', (_what, headers, code, attribute) => {
    expect(() => decode([...Object.entries(binary).flat(), ...headers])).toThrow(failure(code, attribute));
    expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('1');
  });

  it.each([
    ['JSON that is none', Buffer.from('{')],
    ['bytes that are no UTF-8', new Uint8Array([0x22, 0xff, 0x22])],
    ['white space alone', Buffer.from('  ')],
  ])('refuses %s as data', (_what, body) => {
    expect(() => decode({ ...binary, 'content-type': 'application/json' }, body)).toThrow(
      failure('CARILLON_DATA_NOT_JSON', 'data'),
    );
  });

  it('refuses JSON nested deeper than the limit', () => {
    expect(() =>
      decode({ ...binary, 'content-type': 'application/json' }, '['.repeat(200_000) + ']'.repeat(200_000)),
    ).toThrow(failure('CARILLON_DATA_NOT_JSON'));
  });

  it('keeps a member __proto__ of the data as data', () => {
    const decoded = decode({ ...binary, 'content-type': 'application/json' }, '{"__proto__":{"admin":true}}');
    const { data } = (decoded as { event: { data: Record<string, unknown> } }).event;
    expect(Object.keys(data)).toEqual(['__proto__']);
    expect(data['admin']).toBeUndefined();
  });

  it('answers 415 to JSON in another charset', () => {
    expect(() => decode({ ...binary, 'content-type': 'application/json; charset=utf-16' }, '{}')).toThrow(
      expect.objectContaining({ status: 415 }),
    );
  });
});

describe('structured mode', () => {
  it.each([
    'application/cloudevents+json',
    'Application/CloudEvents+JSON; charset="utf-8"',
    'application/cloudevents+json;x=1',
  ])('is told by the content type %s', (contentType) => {
    expect(structured({ ...event, data: 1 }, {}, contentType)).toEqual({
      mode: 'structured',
      event: { ...event, data: 1 },
    });
  });

  it('accepts headers that repeat the body', () => {
    expect(structured({ ...event, myint: 5 }, { ...binary, 'ce-myint': '5' })).toMatchObject({ mode: 'structured' });
  });

  it.each([
    ['another value', { 'ce-id': '2' }, 'id'],
    ['an attribute the body has not', { 'ce-subject': 'x' }, 'subject'],
    ['the data', { 'ce-data': '1' }, 'data'],
  ])('refuses headers that say %s', (_what, headers, attribute) => {
    expect(() => structured({ ...event, data: 1 }, headers)).toThrow(failure('CARILLON_ATTRIBUTE_INVALID', attribute));
  });

  it.each(['', '  ', '{', 'null', '[]', '"text"', '1', '[{}]'])('refuses the body %j', (body) => {
    expect(() => structured(body)).toThrow(failure('CARILLON_ENVELOPE_INVALID'));
  });

  it('refuses bytes that are no UTF-8', () => {
    expect(() => decode({ 'content-type': 'application/cloudevents+json' }, new Uint8Array([0xff]))).toThrow(
      failure('CARILLON_ENVELOPE_INVALID'),
    );
  });

  it.each([
    'application/cloudevents',
    'application/cloudevents+avro',
    'application/cloudevents-batch+xml',
    'application/cloudevents+json; charset=utf-16',
    'application/cloudevents+json; charset',
  ])('answers 415 to %s', (contentType) => {
    expect(() => structured(event, {}, contentType)).toThrow(expect.objectContaining({ status: 415 }));
  });
});

describe('batched mode', () => {
  it('reads events in their order, or none', () => {
    const second = { ...event, id: '2', data_base64: 'AAE=' };
    expect(batch([event, second])).toMatchObject({
      mode: 'batch',
      events: [event, { ...event, id: '2', data: new Uint8Array([0, 1]) }],
    });
    expect(batch([])).toEqual({ mode: 'batch', events: [] });
  });

  it.each(['{}', '[[]]', '[null]', '[1]', '""', '[{}'])('refuses the body %j', (body) => {
    expect(() => batch(body)).toThrow(expect.objectContaining({ kind: 'data' }));
  });

  it('names the event and the attribute at fault', () => {
    expect(() => batch([event, { ...event, id: '' }])).toThrow(
      expect.objectContaining({ details: { attribute: 'id', index: 1 } }),
    );
  });

  it('refuses attributes in headers', () => {
    expect(() => batch([event], { 'ce-id': '1' })).toThrow(failure('CARILLON_ATTRIBUTE_INVALID', 'id'));
  });
});

describe('what the SDK of the CloudEvents project sends', () => {
  const sent = new CloudEvent({
    ...event,
    subject: 'with spaces',
    time: '2026-02-03T04:05:06.789Z',
    datacontenttype: 'application/json',
    data: { text: 'grüß' },
    myext: 'value',
  });

  it.each(['binary', 'structured'] as const)('arrives whole in %s mode', (mode) => {
    const { headers, body } = HTTP[mode](sent);
    const decoded = decode(headers as Record<string, string>, body as string);
    expect(decoded).toMatchObject({
      mode,
      event: { id: '1', subject: 'with spaces', time: sent.time, data: sent.data, myext: 'value' },
    });
  });
});
