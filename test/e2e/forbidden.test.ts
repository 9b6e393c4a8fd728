import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CarillonServer, startServer } from './carillon-process.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * What CloudEvents 1.0.2 and the extensions honoured here forbid, each sent in each of the three HTTP modes. Every one
 * is answered 400 with the code and the attribute at fault, never 500, and nothing is stored.
 */
interface Kind {
  readonly what: string;
  readonly code: string;
  readonly attribute: string;
  /** The attribute's value; null leaves it out. */
  readonly value: string | null;
  /** The header value in binary mode, where percent-encoding `value` would not do. */
  readonly header?: string;
}

const missing = (attribute: string): Kind => ({
  what: `no ${attribute}`,
  code: 'CARILLON_ATTRIBUTE_MISSING',
  attribute,
  value: null,
});

const invalid = (attribute: string, value: string, why: string, header?: string): Kind => ({
  what: `${attribute} ${why}`,
  code: 'CARILLON_ATTRIBUTE_INVALID',
  attribute,
  value,
  ...(header === undefined ? {} : { header }),
});

const misnamed = (attribute: string, why: string): Kind => ({
  what: `an attribute named ${why}`,
  code: 'CARILLON_ATTRIBUTE_NAME',
  attribute,
  value: 'x',
});

const kinds: readonly Kind[] = [
  ...['specversion', 'id', 'source', 'type'].map(missing),
  ...['specversion', 'id', 'source', 'type', 'subject', 'time', 'dataschema', 'datacontenttype'].map((name) =>
    invalid(name, '', 'empty'),
  ),
  invalid('specversion', '0.3', 'of another version'),
  invalid('specversion', '1', 'without its minor number'),
  invalid('specversion', '1.0.2', 'with a patch number'),
  invalid('source', 'a b', 'with a space'),
  invalid('source', '/a<b>', 'with angle brackets'),
  invalid('source', '/a%zz', 'with a broken percent-encoding'),
  invalid('source', '/grün', 'that is not ASCII'),
  invalid('source', 'http://[::1', 'with an open bracket'),
  invalid('id', 'a\nb', 'with a line break'),
  invalid('id', 'a\u0000b', 'with a NUL'),
  invalid('id', 'a\u007fb', 'with a DEL'),
  invalid('id', 'a\u0085b', 'with a C1 control character'),
  invalid('type', 'a\tb', 'with a tab'),
  invalid('type', 'a\uffff', 'with a noncharacter'),
  invalid('subject', 'a\u001bb', 'with an escape character'),
  invalid('subject', 'a\ufdd0', 'with a noncharacter'),
  invalid('subject', 'a\u{1ffff}', 'with a noncharacter of another plane'),
  invalid('subject', 'a\ud800b', 'with a lone surrogate', 'a%ED%A0%80b'),
  invalid('time', 'yesterday', 'in words'),
  invalid('time', '1767323045', 'in seconds'),
  invalid('time', '2026-01-02', 'without a time of day'),
  invalid('time', '2026-01-02T03:04:05', 'without an offset'),
  invalid('time', '2026-01-02 03:04:05Z', 'with a space'),
  invalid('time', '2026-13-02T03:04:05Z', 'in a 13th month'),
  invalid('time', '2026-02-30T03:04:05Z', 'on 30 February'),
  invalid('time', '2026-01-02T24:04:05Z', 'in a 25th hour'),
  invalid('time', '2026-01-02T03:04:60Z', 'in a leap second that never was'),
  invalid('time', '2026-01-02T03:04:05+24:00', 'with an offset of a day'),
  invalid('dataschema', '/relative', 'that is relative'),
  invalid('dataschema', 'https://a b', 'with a space'),
  invalid('datacontenttype', 'json', 'without a slash'),
  invalid('datacontenttype', 'text/', 'without a subtype'),
  invalid('datacontenttype', '/plain', 'without a type'),
  invalid('datacontenttype', 'a/b/c', 'with two slashes'),
  invalid('datacontenttype', 'text/plain; charset', 'with half a parameter'),
  invalid('myext', 'a\u0007', 'with a bell'),
  invalid('expirytime', 'soon', 'in words'),
  invalid('recordedtime', '2026-02-29T00:00:00Z', 'on a day that was not'),
  invalid('partitionkey', '', 'empty'),
  invalid('sequence', '', 'empty'),
  invalid('correlationid', '', 'empty'),
  invalid('causationid', 'a\nb', 'with a line break'),
  invalid('traceparent', '00-xyz', 'that is none'),
  invalid('traceparent', `00-${'0'.repeat(32)}-${'1'.repeat(16)}-01`, 'with a trace id of zeros'),
  invalid('tracestate', '=', 'that is none'),
  misnamed('my_ext', 'with an underscore'),
  misnamed('my-ext', 'with a hyphen'),
  misnamed('my.ext', 'with a dot'),
  misnamed('a'.repeat(65), 'with 65 letters'),
  misnamed('__proto__', '__proto__'),
];

const valid: Readonly<Record<string, string>> = {
  specversion: '1.0',
  id: 'id',
  source: '/test',
  type: 'test.event',
  datacontenttype: 'text/plain',
};

/** The valid attributes with one changed, as pairs: a record would lose `__proto__`. */
function attributesOf({ attribute, value }: Kind): readonly (readonly [string, string])[] {
  const others = Object.entries(valid).filter(([name]) => name !== attribute);
  return value === null ? others : [...others, [attribute, value]];
}

const jsonOf = (attributes: readonly (readonly [string, unknown])[], data: unknown = 'data'): string =>
  `{${[...attributes, ['data', data]].map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`;

interface Answer {
  readonly status: number;
  readonly body: unknown;
  /** Whether it says where in our code it happened. */
  readonly leaks: boolean;
}

let server: CarillonServer;
let data = '';

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'carillon-forbidden-'));
  server = await startServer(data, { keep: true });
});

afterAll(async () => {
  await server.end();
  await rm(data, { recursive: true, force: true });
});

function post(headers: readonly string[], body: string | Uint8Array): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const length = ['host', `127.0.0.1:${server.port}`, 'content-length', String(Buffer.byteLength(body))];
    const options = {
      host: '127.0.0.1',
      port: server.port,
      method: 'POST',
      path: '/events',
      headers: [...length, ...headers],
    };
    const sent = request(options, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          body: JSON.parse(text) as unknown,
          leaks: /\.[jt]s:\d|node:|"stack"/.test(text),
        }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const structured = (body: string | Uint8Array): Promise<Answer> =>
  post(['content-type', 'application/cloudevents+json'], body);
const batch = (body: string | Uint8Array): Promise<Answer> =>
  post(['content-type', 'application/cloudevents-batch+json'], body);

function binary(kind: Kind): Promise<Answer> {
  const encode = (text: string): string => encodeURIComponent(text);
  const headers = attributesOf(kind).flatMap(([name, value]) => {
    if (name === 'datacontenttype') return ['content-type', value];
    return [`ce-${name}`, name === kind.attribute && kind.header !== undefined ? kind.header : encode(value)];
  });
  return post(headers, 'data');
}

/** How what is forbidden is answered. */
const refused = (code: string, attribute: string | undefined, more: object = {}): object => ({
  status: 400,
  leaks: false,
  body: {
    code,
    message: expect.any(String) as string,
    fix: expect.any(String) as string,
    details: { ...(attribute === undefined ? {} : { attribute }), ...more },
  },
});

it('has at least 30 kinds', () => {
  expect(kinds.length).toBeGreaterThanOrEqual(30);
});

describe.each(kinds)('$what', (kind) => {
  it('is refused in binary mode', async () => {
    expect(await binary(kind)).toMatchObject(refused(kind.code, kind.attribute));
  });
  it('is refused in structured mode', async () => {
    expect(await structured(jsonOf(attributesOf(kind)))).toMatchObject(refused(kind.code, kind.attribute));
  });
  it('is refused in a batch, which is refused as a whole', async () => {
    const good = jsonOf(Object.entries(valid));
    const answer = await batch(`[${good},${jsonOf(attributesOf(kind))}]`);
    expect(answer).toMatchObject(refused(kind.code, kind.attribute, { index: 1 }));
  });
});

/** What only JSON can say. */
const inJson: readonly (readonly [string, string, string | undefined, string])[] = [
  ...['5', 'true', '{}', '[]', '["id"]'].map(
    (value) =>
      [
        `id that is ${value}`,
        'CARILLON_ATTRIBUTE_INVALID',
        'id',
        `{"specversion":"1.0","id":${value},"source":"/","type":"t"}`,
      ] as const,
  ),
  ...['1', '1.0', 'false'].map(
    (value) =>
      [
        `specversion that is ${value}`,
        'CARILLON_ATTRIBUTE_INVALID',
        'specversion',
        `{"specversion":${value},"id":"i","source":"/","type":"t"}`,
      ] as const,
  ),
  [
    'null for a required attribute',
    'CARILLON_ATTRIBUTE_MISSING',
    'type',
    '{"specversion":"1.0","id":"i","source":"/","type":null}',
  ],
  ...(
    [
      ['an extension that is a fraction', 'CARILLON_ATTRIBUTE_INVALID', 'ext', '"ext":1.5'],
      ['an extension beyond 32 bits', 'CARILLON_ATTRIBUTE_INVALID', 'ext', '"ext":2147483648'],
      ['an extension that is an object', 'CARILLON_ATTRIBUTE_INVALID', 'ext', '"ext":{}'],
      ['an extension that is an array', 'CARILLON_ATTRIBUTE_INVALID', 'ext', '"ext":[1]'],
      ['a name in capitals', 'CARILLON_ATTRIBUTE_NAME', 'Ext', '"Ext":1'],
      ['an empty name', 'CARILLON_ATTRIBUTE_NAME', '', '"":1'],
      ['a name that is null, and forbidden', 'CARILLON_ATTRIBUTE_NAME', 'my_ext', '"my_ext":null'],
      [
        'the name constructor.prototype',
        'CARILLON_ATTRIBUTE_NAME',
        'constructor.prototype',
        '"constructor.prototype":1',
      ],
      ['data beside data_base64', 'CARILLON_ATTRIBUTE_INVALID', 'data_base64', '"data":1,"data_base64":"AA=="'],
      ['data_base64 that is none', 'CARILLON_ATTRIBUTE_INVALID', 'data_base64', '"data_base64":"?"'],
      ['data_base64 that is a number', 'CARILLON_ATTRIBUTE_INVALID', 'data_base64', '"data_base64":5'],
      [
        'an object that claims to be XML',
        'CARILLON_ATTRIBUTE_INVALID',
        'datacontenttype',
        '"datacontenttype":"text/xml","data":{}',
      ],
    ] as const
  ).map(
    ([what, code, attribute, member]) =>
      [what, code, attribute, `{"specversion":"1.0","id":"i","source":"/","type":"t",${member}}`] as const,
  ),
  [
    'data nested too deep',
    'CARILLON_DATA_NOT_JSON',
    undefined,
    `{"specversion":"1.0","id":"i","source":"/","type":"t","data":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
  ],
  ['no object', 'CARILLON_ENVELOPE_INVALID', undefined, '"event"'],
  ['null', 'CARILLON_ENVELOPE_INVALID', undefined, 'null'],
  ['an array', 'CARILLON_ENVELOPE_INVALID', undefined, '[]'],
  ['cut off', 'CARILLON_ENVELOPE_INVALID', undefined, '{"specversion":"1.0"'],
];

describe.each(inJson)('%s', (_what, code, attribute, body) => {
  it('is refused in structured mode', async () => {
    expect(await structured(body)).toMatchObject(refused(code, attribute));
  });
  it('is refused in a batch', async () => {
    expect(await batch(`[${body}]`)).toMatchObject(refused(code, attribute));
  });
});

/** What only headers can say. */
const inHeaders: readonly {
  what: string;
  code?: string;
  attribute: string;
  headers: readonly string[];
  body?: string | Uint8Array;
}[] = [
  { what: 'an attribute twice', attribute: 'id', headers: ['ce-id', '2'] },
  {
    what: 'a content type twice',
    attribute: 'datacontenttype',
    headers: ['content-type', 'a/b', 'content-type', 'a/b'],
  },
  { what: 'ce-datacontenttype', attribute: 'datacontenttype', headers: ['ce-datacontenttype', 'a/b'] },
  { what: 'ce-data', code: 'CARILLON_ATTRIBUTE_NAME', attribute: 'data', headers: ['ce-data', 'x'] },
  {
    what: 'ce-data_base64',
    code: 'CARILLON_ATTRIBUTE_NAME',
    attribute: 'data_base64',
    headers: ['ce-data_base64', 'AA=='],
  },
  { what: 'ce- alone', code: 'CARILLON_ATTRIBUTE_NAME', attribute: '', headers: ['ce-', 'x'] },
  { what: 'an overlong percent-encoding', attribute: 'subject', headers: ['ce-subject', '%C0%A0'] },
  { what: 'a truncated percent-encoding', attribute: 'subject', headers: ['ce-subject', '%E2%82'] },
  { what: 'a lone percent', attribute: 'subject', headers: ['ce-subject', '50%'] },
  { what: 'an open quote', attribute: 'subject', headers: ['ce-subject', '"open'] },
  { what: 'Latin-1 in a header', attribute: 'subject', headers: ['ce-subject', 'gr\u00fcn'] },
  {
    what: 'a body that is not the JSON it says',
    code: 'CARILLON_DATA_NOT_JSON',
    attribute: 'data',
    headers: ['content-type', 'application/json'],
    body: '{',
  },
  {
    what: 'a body that is not UTF-8',
    code: 'CARILLON_DATA_NOT_JSON',
    attribute: 'data',
    headers: ['content-type', 'application/json'],
    body: new Uint8Array([0x22, 0xff, 0x22]),
  },
];

it.each(inHeaders)('$what is refused in binary mode', async ({ code, attribute, headers, body = '' }) => {
  const base = ['ce-specversion', '1.0', 'ce-id', '1', 'ce-source', '/', 'ce-type', 't'];
  const answer = await post([...base, ...headers], body);
  expect(answer).toMatchObject(refused(code ?? 'CARILLON_ATTRIBUTE_INVALID', attribute));
});

it('plain JSON without attributes is refused with the headers that are missing', async () => {
  const missingHeaders = { missing: ['specversion', 'id', 'source', 'type'] };
  expect(await post(['content-type', 'application/json'], '{"name":"Ada"}')).toMatchObject(
    refused('CARILLON_ATTRIBUTE_MISSING', 'specversion', missingHeaders),
  );
});

it('nothing of all this was stored, and the server is well', async () => {
  expect(await (await fetch(`${server.url}/events`)).json()).toEqual({ events: [], next: null });
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  expect(server.stderr()).toBe('');
  expect(await server.end()).toBe(0);
});
