import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createBus } from '../bus/index.ts';
import {
  type Bus,
  type BusHealth,
  carillonError,
  defineEvent,
  defineModule,
  type Logger,
  resolveLimits,
  silentLogger,
  toError,
} from '../core/index.ts';
import { memory } from '../engines/memory/index.ts';
import { createGateway, type Gateway, type GatewayAddress, type GatewayOptions } from './gateway.ts';

const running: { stop(): Promise<void> }[] = [];

afterEach(async () => {
  for (const part of running.splice(0).reverse()) await part.stop();
});

const Ping = defineEvent('test.ping', {
  data: {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value: unknown) => (value === 'bad' ? { issues: [{ message: 'is bad', path: ['data'] }] } : { value }),
    },
  },
});

const failing = defineModule('failing', (m) => {
  m.events(Ping);
  m.handleSync('test.refused', () => {
    throw new Error('not on my watch');
  });
  m.handle(
    'test.dies',
    (_event, context) => {
      if (context.attempt > 0) throw Object.assign(new Error('cannot'), { code: 'E_CANNOT' });
    },
    { name: 'dies', retry: { kind: 'none' } },
  );
});

async function start(
  options: Partial<GatewayOptions> = {},
): Promise<{ bus: Bus; gateway: Gateway; at: GatewayAddress }> {
  const bus = options.bus ?? (await createBus({ engine: memory(), modules: [failing] }));
  if (!options.bus) running.push(bus);
  const gateway = createGateway({ ...options, bus });
  running.push(gateway);
  return { bus, gateway, at: await gateway.start({ host: '127.0.0.1', port: 0 }) };
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
  readonly body: any; // oxlint-disable-line typescript/no-explicit-any -- answers of every shape
}

/** One request. Headers as a flat list, so that a name may come twice. */
function send(
  at: GatewayAddress,
  method: string,
  path: string,
  headers: readonly string[] = [],
  body: string | Uint8Array = '',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const host = headers.some((name) => name.toLowerCase() === 'host') ? [] : ['host', `127.0.0.1:${at.port}`];
    const length = body.length > 0 ? ['content-length', String(Buffer.byteLength(body))] : [];
    const request = httpRequest(
      { host: at.host, port: at.port, method, path, headers: [...host, ...length, ...headers], agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const isJson = String(response.headers['content-type']).includes('json') && text !== '';
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            body: isJson ? JSON.parse(text) : undefined,
          });
        });
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

const structured = ['content-type', 'application/cloudevents+json'];
const batched = ['content-type', 'application/cloudevents-batch+json'];
const event = (id: string, more: object = {}) => ({
  specversion: '1.0',
  id,
  source: '/test',
  type: 'test.happened',
  ...more,
});
const post = (at: GatewayAddress, body: unknown, path = '/events', headers: readonly string[] = structured) =>
  send(at, 'POST', path, headers, JSON.stringify(body));

const problem = (status: number, code: string, details: object = {}) => ({
  status,
  body: { code, message: expect.any(String), fix: expect.any(String), details: expect.objectContaining(details) },
});

describe('POST /events', () => {
  it('answers 202 with id and position, in each of the three modes', async () => {
    const { at } = await start();
    expect(await post(at, event('1'))).toMatchObject({ status: 202, body: { id: '1', position: 1 } });
    const headers = [
      'ce-specversion',
      '1.0',
      'ce-id',
      '2',
      'ce-source',
      '/test',
      'ce-type',
      'a.b',
      'content-type',
      'application/json',
    ];
    expect(await send(at, 'POST', '/events', headers, '{}')).toMatchObject({
      status: 202,
      body: { id: '2', position: 2 },
    });
    expect(await post(at, [event('3'), event('4')], '/events', batched)).toMatchObject({
      status: 202,
      body: [
        { id: '3', position: 3 },
        { id: '4', position: 4 },
      ],
    });
    expect(await post(at, [], '/events', batched)).toMatchObject({ status: 202, body: [] });
  });

  it('answers only once the event is durable', async () => {
    let durable: (published: object) => void = () => undefined;
    const bus = { publish: () => new Promise((resolve) => (durable = resolve)) } as unknown as Bus;
    const { at } = await start({ bus });
    let answered = false;
    const answer = post(at, event('1')).then((it) => ((answered = true), it));
    // The gateway has the whole request when a later one on the same server was answered.
    await expect.poll(() => durable.length).toBe(1);
    await send(at, 'GET', '/healthz');
    expect(answered).toBe(false);
    durable({ id: '1', position: 9, duplicate: false, scheduledMs: null });
    expect((await answer).body).toEqual({ id: '1', position: 9 });
  });

  it('stores the same event once and says so', async () => {
    const { at } = await start();
    await post(at, event('1'));
    expect((await post(at, event('1'))).body).toEqual({ id: '1', position: 1, duplicate: true });
  });

  it('schedules, and checks the revision', async () => {
    const { at } = await start();
    expect((await post(at, event('1'), '/events?delayMs=3600000')).body).toEqual({
      id: '1',
      position: null,
      scheduled: expect.any(String),
    });
    expect((await post(at, event('2'), '/events?at=2999-01-01T00:00:00Z')).body).toMatchObject({
      scheduled: '2999-01-01T00:00:00.000Z',
    });
    expect(await post(at, event('3', { subject: 's' }), '/events?expectedRevision=none')).toMatchObject({
      status: 202,
    });
    expect(await post(at, event('4', { subject: 's' }), '/events?expectedRevision=none')).toMatchObject(
      problem(409, 'CARILLON_REVISION_CONFLICT'),
    );
    expect(await post(at, event('5', { subject: 's' }), '/events?expectedRevision=1')).toMatchObject({ status: 202 });
  });

  it.each([
    ['/events?delay=1', 'delay'],
    ['/events?delayMs=-1', 'delayMs'],
    ['/events?at=tomorrow', 'at'],
    ['/events?at=1&delayMs=1', 'at'],
    ['/events?expectedRevision=latest', 'expectedRevision'],
    ['/events?delayMs=1&delayMs=2', 'delayMs'],
  ])('refuses %s, naming the parameter', async (path, parameter) => {
    const { at } = await start();
    expect(await post(at, event('1'), path)).toMatchObject(problem(400, 'CARILLON_OPTION_INVALID', { parameter }));
  });

  it('tells why a sync handler refused', async () => {
    const { at, bus } = await start();
    const answer = await post(at, event('1', { type: 'test.refused' }));
    expect(answer).toMatchObject(problem(409, 'CARILLON_REFUSED'));
    expect(answer.body.message).toContain('not on my watch');
    expect(await bus.ends()).toEqual({ first: 0, last: 0 });
  });

  it('tells what the schema of the type found', async () => {
    const { at } = await start();
    expect(await post(at, event('1', { type: 'test.ping', data: 'bad' }))).toMatchObject(
      problem(400, 'CARILLON_DATA_INVALID', { issues: [{ path: 'data', message: 'is bad' }] }),
    );
  });

  it.each([
    ['no headers at all', [], '{}', 400, 'CARILLON_ATTRIBUTE_MISSING', { attribute: 'specversion' }],
    [
      'plain JSON',
      ['content-type', 'application/json'],
      '{"a":1}',
      400,
      'CARILLON_ATTRIBUTE_MISSING',
      { missing: ['specversion', 'id', 'source', 'type'] },
    ],
    [
      'a content type that is none',
      ['ce-specversion', '1.0', 'ce-id', '1', 'ce-source', '/t', 'ce-type', 't', 'content-type', 'json'],
      '{}',
      400,
      'CARILLON_ATTRIBUTE_INVALID',
      { attribute: 'datacontenttype' },
    ],
    [
      'another format',
      ['content-type', 'application/cloudevents+avro'],
      'x',
      415,
      'CARILLON_ENVELOPE_INVALID',
      { header: 'content-type' },
    ],
    ['an empty body', structured, '', 400, 'CARILLON_ENVELOPE_INVALID', {}],
    ['nested arrays', batched, '[[{}]]', 400, 'CARILLON_ENVELOPE_INVALID', { index: 0 }],
    ['a header twice', ['ce-id', '1', 'ce-id', '2'], '', 400, 'CARILLON_ATTRIBUTE_INVALID', { attribute: 'id' }],
  ] as const)('refuses %s', async (_what, headers, body, status, code, details) => {
    const { at } = await start();
    expect(await send(at, 'POST', '/events', headers, body)).toMatchObject(problem(status, code, details));
  });

  it('answers 413 to a body over the limit, with and without its length told', async () => {
    const { at } = await start({ httpLimits: { bodyBytesMax: 1_000 } });
    const body = JSON.stringify(event('1', { data: 'x'.repeat(2_000) }));
    expect(await send(at, 'POST', '/events', structured, body)).toMatchObject(problem(413, 'CARILLON_EVENT_TOO_LARGE'));
    const chunked = await send(at, 'POST', '/events', [...structured, 'transfer-encoding', 'chunked'], '').then(() =>
      fetch(`${at.url}/events`, {
        method: 'POST',
        headers: { 'content-type': 'application/cloudevents+json' },
        body: new Blob([body]).stream(),
        duplex: 'half',
      }),
    );
    expect(chunked.status).toBe(413);
  });

  it('answers 413 to an event or a batch over the limits of the bus', async () => {
    const { at } = await start({ limits: resolveLimits({ eventBytesMax: 500, batchEventsMax: 2 }) });
    expect(await post(at, event('1', { data: 'x'.repeat(600) }))).toMatchObject(
      problem(413, 'CARILLON_EVENT_TOO_LARGE'),
    );
    expect(await post(at, [event('1'), event('2'), event('3')], '/events', batched)).toMatchObject(
      problem(413, 'CARILLON_BATCH_TOO_LARGE'),
    );
  });

  it.each(['CARILLON_OVERLOADED', 'CARILLON_STORAGE_FULL', 'CARILLON_STOPPED', 'CARILLON_ENGINE_FAILED'] as const)(
    'answers 503 with Retry-After to %s',
    async (code) => {
      const bus = { publish: () => Promise.reject(carillonError(code, 'not now')) } as unknown as Bus;
      const { at } = await start({ bus });
      const answer = await post(at, event('1'));
      expect(answer).toMatchObject(problem(503, code));
      expect(answer.headers['retry-after']).toBe('1');
    },
  );

  it('tells the log, and not the client, how it failed', async () => {
    const told: unknown[] = [];
    const log: Logger = { ...silentLogger, error: (message, fields) => told.push([message, fields]) };
    const bus = { publish: () => Promise.reject(new TypeError('secret /path')) } as unknown as Bus;
    const { at } = await start({ bus, log });
    const answer = await post(at, event('1'));
    expect(answer).toMatchObject(problem(500, 'CARILLON_BUG'));
    expect(answer.text).not.toContain('secret');
    expect(JSON.stringify(told)).toContain('secret /path');
  });
});

describe('GET /events', () => {
  async function filled() {
    const started = await start();
    for (const [id, type, subject] of [
      ['1', 'a.b', 's'],
      ['2', 'a.c', 't'],
      ['3', 'a.b', 't'],
      ['4', 'x', 's'],
    ] as const) {
      await post(started.at, event(id, { type, subject, data: { n: id } }));
    }
    return started;
  }
  const ids = (answer: Answer): string[] =>
    (answer.body.events as { event: { id: string } }[]).map((row) => row.event.id);

  it('gives positions, times and events', async () => {
    const { at } = await filled();
    const answer = await send(at, 'GET', '/events?limit=1');
    expect(answer).toMatchObject({ status: 200 });
    expect(answer.headers).toMatchObject({
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    expect(answer.headers['access-control-allow-origin']).toBeUndefined();
    expect(answer.body).toEqual({
      events: [
        {
          position: 1,
          recordedtime: expect.stringMatching(/Z$/),
          event: event('1', { type: 'a.b', subject: 's', data: { n: '1' } }),
        },
      ],
      next: 1,
    });
    expect(answer.headers['link']).toBe('</events?limit=1&after=1>; rel="next"');
    expect((await send(at, 'GET', '/events')).body.next).toBeNull();
  });

  it.each([
    ['type=a.b', ['1', '3']],
    ['type=a.*', ['1', '2', '3']],
    ['type=%3E', ['1', '2', '3', '4']],
    ['subject=t', ['2', '3']],
    ['type=a.b&subject=t', ['3']],
    ['after=2', ['3', '4']],
    ['after=99', []],
    ['since=2000-01-01T00:00:00Z', ['1', '2', '3', '4']],
    ['until=2000-01-01T00:00:00%2B01:00', []],
    ['since=99999999999999', []],
  ])('heeds %s', async (query, expected) => {
    const { at } = await filled();
    expect(ids(await send(at, 'GET', `/events?${query}`))).toEqual(expected);
  });

  it('gives a CloudEvents batch to whoever accepts one', async () => {
    const { at } = await filled();
    const answer = await send(at, 'GET', '/events?type=x', ['accept', 'application/cloudevents-batch+json']);
    expect(answer.headers['content-type']).toBe('application/cloudevents-batch+json; charset=utf-8');
    expect(answer.body).toEqual([event('4', { type: 'x', subject: 's', data: { n: '4' } })]);
  });

  it.each([
    ['limit=0', 'CARILLON_OPTION_INVALID', 'limit'],
    ['limit=1001', 'CARILLON_OPTION_INVALID', 'limit'],
    ['after=-1', 'CARILLON_OPTION_INVALID', 'after'],
    ['since=now', 'CARILLON_OPTION_INVALID', 'since'],
    ['until=', 'CARILLON_OPTION_INVALID', 'until'],
    ['typ=x', 'CARILLON_OPTION_INVALID', 'typ'],
    ['type=a&type=b', 'CARILLON_OPTION_INVALID', 'type'],
    ['type=a.%3E.b', 'CARILLON_PATTERN_INVALID', 'type'],
  ])('refuses %s, naming the parameter', async (query, code, parameter) => {
    const { at } = await start();
    expect(await send(at, 'GET', `/events?${query}`)).toMatchObject(problem(400, code, { parameter }));
    expect(await send(at, 'GET', `/events/stream?${query}`)).toMatchObject({ status: 400 });
  });
});

/** Reads a stream until `enough` says so. */
async function readStream(
  url: string,
  enough: (text: string) => boolean,
  headers: Record<string, string> = {},
  onOpen = async (): Promise<void> => undefined,
) {
  const abort = new AbortController();
  const response = await fetch(url, { headers, signal: abort.signal });
  const decoder = new TextDecoder();
  let text = '';
  let opened = false;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    if (!opened) await onOpen();
    opened = true;
    if (enough(text)) break;
  }
  abort.abort();
  return { text, response, positions: [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id)) };
}

describe('GET /events/stream', () => {
  it('gives what comes from now on', async () => {
    const { at } = await start();
    await post(at, event('1'));
    const { text, response } = await readStream(
      `${at.url}/events/stream`,
      (soFar) => soFar.includes('data:'),
      {},
      async () => {
        await post(at, event('2'));
      },
    );
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    expect(text).toContain(`id: 2\ndata: ${JSON.stringify(event('2'))}\n\n`);
    expect(text).not.toContain('id: 1\n');
  });

  it('resumes behind Last-Event-ID, which counts more than the address', async () => {
    const { at } = await start();
    for (const id of ['1', '2', '3', '4']) await post(at, event(id));
    const all = (text: string): boolean => text.includes('id: 4\n');
    expect((await readStream(`${at.url}/events/stream?after=1`, all)).positions).toEqual([2, 3, 4]);
    expect((await readStream(`${at.url}/events/stream?from=beginning`, all)).positions).toEqual([1, 2, 3, 4]);
    expect((await readStream(`${at.url}/events/stream?from=now`, all, { 'last-event-id': '2' })).positions).toEqual([
      3, 4,
    ]);
  });

  it('passes only what the filters pass', async () => {
    const { at } = await start();
    await post(at, event('1', { type: 'a.b' }));
    await post(at, event('2', { type: 'a.c' }));
    await post(at, event('3', { type: 'a.b', subject: 's' }));
    const { positions } = await readStream(`${at.url}/events/stream?from=beginning&type=a.b`, (text) =>
      text.includes('id: 3\n'),
    );
    expect(positions).toEqual([1, 3]);
  });

  it.each([
    ['from=yesterday', 'from'],
    ['from=now&after=1', 'from'],
    ['after=x', 'after'],
  ])('refuses %s', async (query, parameter) => {
    const { at } = await start();
    expect(await send(at, 'GET', `/events/stream?${query}`)).toMatchObject(
      problem(400, 'CARILLON_OPTION_INVALID', { parameter }),
    );
  });

  it('refuses a Last-Event-ID that is no position', async () => {
    const { at } = await start();
    expect(await send(at, 'GET', '/events/stream', ['last-event-id', 'abc'])).toMatchObject(
      problem(400, 'CARILLON_OPTION_INVALID', { parameter: 'Last-Event-ID' }),
    );
  });

  it('answers 503 when the most streams are open, and serves again once one is closed', async () => {
    const { at } = await start({ httpLimits: { streamsMax: 1 } });
    const abort = new AbortController();
    const first = await fetch(`${at.url}/events/stream`, { signal: abort.signal });
    expect(first.status).toBe(200);
    expect(await send(at, 'GET', '/events/stream')).toMatchObject(
      problem(503, 'CARILLON_OVERLOADED', { limit: 'streamsMax' }),
    );
    abort.abort();
    await expect
      .poll(async () => {
        const again = new AbortController();
        const { status } = await fetch(`${at.url}/events/stream`, { signal: again.signal });
        again.abort();
        return status;
      })
      .toBe(200);
  });

  it('ends when the gateway stops', async () => {
    const { at, gateway } = await start();
    const response = await fetch(`${at.url}/events/stream`);
    const text = response.text();
    await gateway.stop();
    expect(await text).toContain('retry:');
  });
});

describe('operations', () => {
  it('tells that it lives, and whether it is ready', async () => {
    let status: BusHealth['status'] = 'ready';
    const health = async (): Promise<BusHealth> => ({ status, engine: 'test', reasons: ['r'], modules: {} });
    const { at } = await start({ bus: { health } as unknown as Bus });
    expect(await send(at, 'GET', '/healthz')).toMatchObject({ status: 200, body: { status: 'alive' } });
    for (const [is, expected] of [
      ['ready', 200],
      ['degraded', 200],
      ['starting', 503],
      ['failed', 503],
      ['stopping', 503],
    ] as const) {
      status = is;
      expect(await send(at, 'GET', '/readyz')).toMatchObject({
        status: expected,
        body: { status: is, reasons: ['r'] },
      });
      expect(await send(at, 'HEAD', '/readyz')).toMatchObject({ status: expected, text: '' });
    }
  });

  it('lists the handlers', async () => {
    const { at } = await start();
    expect((await send(at, 'GET', '/handlers')).body).toMatchObject({
      handlers: [{ name: 'failing.dies', target: 'test.dies' }],
    });
  });

  it('lists, shows, redrives and discards dead letters, without stacks', async () => {
    const { at, bus } = await start();
    await post(at, event('1', { type: 'test.dies', data: 1 }));
    await post(at, event('2', { type: 'test.dies' }));
    const dead = async () =>
      ((await send(at, 'GET', '/dead')).body.dead as { position: number }[]).map(({ position }) => position);
    await expect.poll(dead).toEqual([1, 2]);
    const shown = await send(at, 'GET', '/dead/failing.dies/1');
    expect(shown.body).toMatchObject({
      subscription: 'failing.dies',
      position: 1,
      attemptCount: 1,
      attempts: [{ attempt: 1, error: { name: 'Error', message: 'cannot', code: 'E_CANNOT' } }],
      event: event('1', { type: 'test.dies', data: 1 }),
    });
    expect(shown.text).not.toMatch(/stack|gateway\.test/);
    expect((await send(at, 'GET', '/dead?subscription=failing.dies&limit=1')).body.dead).toHaveLength(1);

    const json = ['content-type', 'application/json'];
    expect(
      (await post(at, { subscription: 'failing.dies', positions: [1], data: 2 }, '/dead/redrive', json)).body,
    ).toEqual({ redriven: 1 });
    await expect
      .poll(() => bus.deadLetters.get('failing.dies', 1).catch(toError))
      .toMatchObject({ event: { data: 2 } });
    expect((await post(at, { subscription: 'failing.dies' }, '/dead/discard', json)).body).toEqual({ discarded: 2 });
    expect(await dead()).toEqual([]);
    expect(await send(at, 'GET', '/dead/failing.dies/1')).toMatchObject(problem(404, 'CARILLON_DEAD_LETTER_UNKNOWN'));
  });

  it.each([
    [{}, 'subscription'],
    [{ subscription: 3 }, 'subscription'],
    [{ subscription: 'a', positions: [] }, 'positions'],
    [{ subscription: 'a', positions: ['1'] }, 'positions'],
    [{ subscription: 'a', position: 1 }, 'position'],
    [[], 'body'],
    [null, 'body'],
  ])('refuses to redrive %j', async (body, parameter) => {
    const { at } = await start();
    expect(await post(at, body, '/dead/redrive', ['content-type', 'application/json; charset=utf-8'])).toMatchObject(
      problem(400, 'CARILLON_OPTION_INVALID', { parameter }),
    );
  });

  it('takes commands as application/json alone, which no form can send', async () => {
    const { at } = await start();
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
      expect(await post(at, { subscription: 'a' }, '/dead/discard', ['content-type', type])).toMatchObject({
        status: 415,
      });
    }
  });
});

describe('what is not asked for properly', () => {
  it.each([
    ['GET', '/nothing', 404, 'CARILLON_OPTION_INVALID'],
    ['POST', '/events/x/y', 404, 'CARILLON_OPTION_INVALID'],
    ['GET', '/%zz', 400, 'CARILLON_OPTION_INVALID'],
    ['GET', '/dead/a/b', 400, 'CARILLON_OPTION_INVALID'],
  ])('%s %s: %d', async (method, path, status, code) => {
    const { at } = await start();
    expect(await send(at, method, path)).toMatchObject(problem(status, code));
  });

  it.each([
    ['DELETE', '/events', 'POST, GET'],
    ['OPTIONS', '/events', 'POST, GET'],
    ['POST', '/events/stream', 'GET'],
    ['HEAD', '/events/stream', 'GET'],
    ['PUT', '/dead/redrive', 'POST'],
    ['POST', '/dead/a/1', 'GET'],
    ['PATCH', '/healthz', 'GET, HEAD'],
  ])('%s %s: 405 with Allow', async (method, path, allow) => {
    const { at } = await start();
    const answer = await send(at, method, path);
    expect([answer.status, answer.headers['allow']]).toEqual([405, allow]);
  });

  it('refuses a Host that is not this machine, and pages of other sites', async () => {
    const { at, bus } = await start();
    expect(await send(at, 'GET', '/events', ['host', 'evil.example'])).toMatchObject(
      problem(403, 'CARILLON_OPTION_INVALID', { header: 'host' }),
    );
    expect(await post(at, event('1'), '/events', [...structured, 'origin', 'http://evil.example'])).toMatchObject(
      problem(403, 'CARILLON_OPTION_INVALID', { header: 'origin' }),
    );
    expect(await send(at, 'GET', '/events/stream', ['sec-fetch-site', 'cross-site'])).toMatchObject({ status: 403 });
    expect(await bus.ends()).toEqual({ first: 0, last: 0 });
  });

  /** Bytes as they are, straight on a socket. */
  const raw = (at: GatewayAddress, bytes: string): Promise<string> =>
    new Promise((resolve, reject) => {
      let text = '';
      const socket = connect(at.port, at.host, () => socket.write(bytes, 'latin1'));
      socket.on('data', (chunk) => (text += chunk.toString()));
      socket.on('close', () => resolve(text));
      socket.on('error', reject);
    });
  const host = 'Host: localhost\r\n';

  it.each([
    [
      'both lengths of a body',
      `POST /events HTTP/1.1\r\n${host}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
    ['two lengths', `POST /events HTTP/1.1\r\n${host}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`, 400],
    ['a folded header', `GET /events HTTP/1.1\r\n${host}ce-id: a\r\n b\r\n\r\n`, 400],
    ['a space before the colon', `GET /events HTTP/1.1\r\n${host}ce-id : a\r\n\r\n`, 400],
    ['a control character in a header', `GET /events HTTP/1.1\r\n${host}ce-id: a\u0000b\r\n\r\n`, 400],
    ['no Host', 'GET /events HTTP/1.1\r\n\r\n', 400],
    ['what is no HTTP', 'hello\r\n\r\n', 400],
    ['too many headers', `GET /events HTTP/1.1\r\n${host}${'x-h: 0123456789\r\n'.repeat(2_000)}\r\n`, 431],
  ])('answers %s with its status and nothing of ours', async (_what, bytes, status) => {
    const { at, bus } = await start();
    const answer = await raw(at, bytes);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).not.toMatch(/node:|\.ts|at .+:\d+:\d+/);
    expect(await bus.ends()).toEqual({ first: 0, last: 0 });
  });
});

describe('start and stop', () => {
  it('says that the port is taken', async () => {
    const { at } = await start();
    const second = createGateway({ bus: {} as Bus });
    await expect(second.start({ host: '127.0.0.1', port: at.port })).rejects.toMatchObject({
      code: 'CARILLON_OPTION_INVALID',
      details: { option: 'port', port: at.port },
    });
  });

  it('says that the address is none of this machine', async () => {
    await expect(createGateway({ bus: {} as Bus }).start({ host: '192.0.2.1', port: 0 })).rejects.toMatchObject({
      details: { option: 'host' },
    });
  });

  it('refuses limits it does not know', () => {
    expect(() => createGateway({ bus: {} as Bus, httpLimits: { bodyMax: 1 } as object })).toThrow(
      /no HTTP limit named "bodyMax"/,
    );
    expect(() => createGateway({ bus: {} as Bus, httpLimits: { streamsMax: 0 } })).toThrow(
      /streamsMax must be a whole number/,
    );
  });

  it('lets the request in hand end before it has stopped', async () => {
    let durable: (published: object) => void = () => undefined;
    const bus = { publish: () => new Promise((resolve) => (durable = resolve)) } as unknown as Bus;
    const { at, gateway } = await start({ bus });
    const answer = post(at, event('1'));
    await expect.poll(() => durable.length).toBe(1);
    const stopped = gateway.stop();
    durable({ id: '1', position: 1, duplicate: false, scheduledMs: null });
    expect((await answer).status).toBe(202);
    await stopped;
    await expect(send(at, 'GET', '/healthz')).rejects.toThrow(/ECONNREFUSED/);
  });
});
