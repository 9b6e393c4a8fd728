import { CloudEvent, HTTP } from 'cloudevents';
import { describe, expect, it } from 'vitest';
import { makeEvent } from './event-object.ts';
import { formatEvent, parseEventText } from './json-format.ts';

/** The reference SDK always writes a time, in ms. */
const base = { specversion: '1.0', id: '1', source: '/s', type: 'com.example.x', time: '2018-04-05T17:31:00.000Z' };

const cases: Readonly<Record<string, { attributes?: object; data?: unknown }>> = {
  'no data': {},
  'an object': { data: { a: [1, { b: null }] } },
  'an array': { data: [1, 2] },
  'text as JSON': { attributes: { datacontenttype: 'application/json' }, data: 'just a string' },
  'text that is not JSON': { attributes: { datacontenttype: 'text/plain' }, data: 'just text' },
  xml: { attributes: { datacontenttype: 'application/xml' }, data: '<much wow="xml"/>' },
  'a +json type': { attributes: { datacontenttype: 'application/vnd.x+json' }, data: { a: 1 } },
  bytes: { attributes: { datacontenttype: 'application/octet-stream' }, data: Uint8Array.of(0, 1, 254, 255) },
  'every attribute': {
    attributes: { subject: 'x', dataschema: 'https://example.com/x', datacontenttype: 'application/json' },
    data: { a: 1 },
  },
  extensions: { attributes: { text: 'x', flag: true, whole: -5, partitionkey: 'k', sequence: '001' }, data: {} },
};

describe('the reference SDK', () => {
  it.each(Object.entries(cases))('writes %s as we do', (_, { attributes, data }) => {
    const theirs = HTTP.structured(new CloudEvent({ ...base, ...attributes, data }));
    const ours = makeEvent({ ...base, ...attributes }, data);
    expect(JSON.parse(formatEvent(ours))).toEqual(JSON.parse(theirs.body as string));
    expect(parseEventText(theirs.body as string)).toEqual(ours);
  });

  it.each(Object.entries(cases))('reads %s as we do', (_, { attributes, data }) => {
    const ours = makeEvent({ ...base, ...attributes }, data);
    const message = { headers: { 'content-type': 'application/cloudevents+json' }, body: formatEvent(ours) };
    const { data_base64: _copy, ...theirs } = Object.assign({}, HTTP.toEvent(message) as CloudEvent<unknown>);
    // It gives bytes as a Uint32Array with one byte in each number.
    const bytes = theirs.data instanceof Uint32Array ? { data: Uint8Array.from(theirs.data) } : {};
    expect({ ...theirs, ...bytes }).toEqual({ ...ours });
  });
});
