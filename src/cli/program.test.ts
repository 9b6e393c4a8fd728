import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { exitCodeOf } from './exit-codes.ts';
import { createProgram } from './program.ts';
import type { ServeFlags } from './serve.ts';

/** What a server was asked, and what it answers next. */
const asked: { method: string | undefined; url: string | undefined; type: string | undefined; body: string }[] = [];
let answer: { status: number; body: unknown } = { status: 200, body: {} };
let server: Server;
let url = '';

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      asked.push({ method: request.method, url: request.url, type: request.headers['content-type'], body });
      response.writeHead(answer.status, { 'content-type': 'application/json', connection: 'close' });
      response.end(JSON.stringify(answer.body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => new Promise((resolve) => server.close(resolve)));

beforeEach(() => {
  asked.length = 0;
  answer = { status: 200, body: {} };
});

/** Runs a command line. */
async function run(args: readonly string[], { input = '', at = url } = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const served: ServeFlags[] = [];
  const program = createProgram({
    terminal: { out: (line) => void out.push(line), err: (line) => void err.push(line), input: async () => input },
    version: '1.2.3',
    url: at,
    serve: async (flags) => void served.push(flags),
  });
  let code = 0;
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    code = exitCodeOf(error);
  }
  return { code, out, err, served };
}

const problem = (code: string) => ({ code, message: 'no', fix: 'do', details: {} });

describe('serve', () => {
  it('hands its options on', async () => {
    const { served } = await run([
      'serve',
      '--port',
      '0',
      '--host',
      '::1',
      '--data',
      'd',
      '--config',
      'c.ts',
      '--quiet',
      '--json',
      '--memory',
      '--allow-public',
    ]);
    expect(served).toEqual([
      { port: 0, host: '::1', data: 'd', config: 'c.ts', quiet: true, json: true, memory: true, allowPublic: true },
    ]);
    expect((await run(['serve'])).served).toEqual([{}]);
  });
});

describe('what is no command line', () => {
  it.each([
    [[]],
    [['sreve']],
    [['serve', '--prot', '1']],
    [['serve', '--port', '65536']],
    [['serve', '--port', 'x']],
    [['publish']],
    [['publish', 'a.b', '--delay', '-5']],
    [['tail', '--after', '1.5']],
    [['tail', '--url', 'ftp://x']],
    [['dead']],
    [['dead', 'show', 'a.b']],
    [['dead', 'show', 'a.b', 'x']],
    [['dead', 'redrive', 'a.b']],
    [['dead', 'discard', 'a.b', '1', '--all']],
    [['dead', 'discard', 'a.b', '1', '--data', '1']],
  ])('%j ends with 2 and asks the server nothing', async (args) => {
    expect((await run(args)).code).toBe(2);
    expect(asked).toEqual([]);
  });

  it.each([[['--help']], [['publish', '--help']], [['dead', '--help']], [['--version']]])(
    '%j ends with 0',
    async (args) => {
      const { code, out } = await run(args);
      expect(code).toBe(0);
      expect(out.join('')).not.toBe('');
    },
  );

  it('tells the exit codes in the help', async () => {
    expect((await run(['--help'])).out.join('\n')).toMatch(/3 {2}no server answers/);
  });
});

describe('publish', () => {
  it('sends an event of a type', async () => {
    answer = { status: 202, body: { id: 'x', position: 7 } };
    const { out } = await run([
      'publish',
      'a.b',
      '--data',
      '{"n":1}',
      '--source',
      '/s',
      '--subject',
      'sub',
      '--id',
      'x',
      '--delay',
      '5',
      '--expected-revision',
      'none',
    ]);
    expect(out).toEqual(['published x #7']);
    expect(asked[0]).toMatchObject({
      method: 'POST',
      url: '/events?delayMs=5&expectedRevision=none',
      type: 'application/cloudevents+json',
    });
    expect(JSON.parse(asked[0]?.body ?? '')).toEqual({
      specversion: '1.0',
      id: 'x',
      source: '/s',
      type: 'a.b',
      time: expect.any(String),
      subject: 'sub',
      datacontenttype: 'application/json',
      data: { n: 1 },
    });
  });

  it('sends what standard input holds, one event or a batch', async () => {
    answer = {
      status: 202,
      body: [
        { id: 'x', position: 1, duplicate: true },
        { id: 'y', position: null, scheduled: 'then' },
      ],
    };
    expect((await run(['publish', '-'], { input: ' [{}]' })).out).toEqual([
      'already there: x #1',
      'scheduled y for then',
    ]);
    expect(asked[0]).toMatchObject({ type: 'application/cloudevents-batch+json', body: ' [{}]' });
    await run(['publish', '-'], { input: '{}' });
    expect(asked[1]).toMatchObject({ type: 'application/cloudevents+json' });
  });

  it('prints the answers as JSON lines', async () => {
    answer = {
      status: 202,
      body: [
        { id: 'x', position: 1 },
        { id: 'y', position: 2 },
      ],
    };
    expect((await run(['publish', '-', '--json'], { input: '[]' })).out).toEqual([
      '{"id":"x","position":1}',
      '{"id":"y","position":2}',
    ]);
  });

  it.each([[['publish', 'a.b', '--data', '{']], [['publish', '-', '--id', 'x']], [['publish', './no-such-file.json']]])(
    'refuses %j before it asks the server',
    async (args) => {
      expect((await run(args)).code).toBe(2);
      expect(asked).toEqual([]);
    },
  );

  it.each([
    [400, 2],
    [413, 2],
    [404, 4],
    [409, 5],
    [503, 1],
    [500, 1],
  ])('ends on status %d with %d', async (status, code) => {
    answer = { status, body: problem('CARILLON_OPTION_INVALID') };
    expect((await run(['publish', 'a.b'])).code).toBe(code);
  });

  it('ends with 3 when no server answers', async () => {
    // Port 1 needs root to listen on, and nothing does.
    expect((await run(['publish', 'a.b'], { at: 'http://127.0.0.1:1' })).code).toBe(3);
  });
});

describe('tail', () => {
  it('prints page after page', async () => {
    answer = {
      status: 200,
      body: {
        events: [{ position: 3, recordedtime: 'T', event: { type: 'a\u001bb', source: '/s', data: { n: 1 } } }],
        next: null,
      },
    };
    expect((await run(['tail', '--type', 'a.*', '--subject', 's', '--after', '2'])).out).toEqual([
      '#3  T  a\\u001bb  /s  {"n":1}',
    ]);
    expect(asked[0]?.url).toBe('/events?type=a.*&subject=s&after=2&limit=1000');
    expect((await run(['tail', '--json'])).out.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { position: 3 },
    ]);
  });
});

describe('dead', () => {
  const letter = {
    subscription: 'm.h',
    position: 4,
    key: 'k',
    deadtime: 'T',
    attemptCount: 1,
    attempts: [{ attempt: 1, atMs: 0, durationMs: 1.25, worker: 'w', error: { name: 'Error', message: 'no\nway' } }],
    holds: true,
    event: { type: 'a.b' },
  };

  it('lists and shows', async () => {
    answer = { status: 200, body: { dead: [letter] } };
    expect((await run(['dead', 'list'])).out).toEqual(['m.h  #4  a.b  T  1 attempts  Error: no\\u000away']);
    answer = { status: 200, body: letter };
    const { out } = await run(['dead', 'show', 'm.h', '4']);
    expect(out.slice(0, 4)).toEqual([
      'm.h #4, dead since T',
      'key k, later events wait behind it',
      '1 attempts:',
      '  1  1970-01-01T00:00:00.000Z  1.3 ms  w  Error: no\\u000away',
    ]);
    expect(asked.map((request) => request.url)).toEqual(['/dead?limit=100', '/dead/m.h/4']);
  });

  it('redrives and discards', async () => {
    answer = { status: 200, body: { redriven: 2 } };
    expect((await run(['dead', 'redrive', 'm.h', '4', '5', '--data', '{"n":1}'])).out).toEqual(['redriven: 2']);
    answer = { status: 200, body: { discarded: 3 } };
    expect((await run(['dead', 'discard', 'm.h', '--all', '--json'])).out).toEqual(['{"discarded":3}']);
    expect(asked.map(({ url: path, body }) => [path, JSON.parse(body) as unknown])).toEqual([
      ['/dead/redrive', { subscription: 'm.h', positions: [4, 5], data: { n: 1 } }],
      ['/dead/discard', { subscription: 'm.h' }],
    ]);
  });
});

it('handlers prints a table', async () => {
  answer = {
    status: 200,
    body: {
      handlers: [
        {
          name: 'm.h',
          target: 'a.b',
          position: 1,
          lag: 2,
          running: 0,
          retrying: 0,
          held: 0,
          dead: 0,
          handled: 5,
          failed: 1,
          stalled: true,
        },
      ],
    },
  };
  const { out } = await run(['handlers']);
  expect(out).toHaveLength(2);
  expect(out[1]).toMatch(/^m\.h +a\.b +1 +2 +0 +0 +0 +0 +5 +1 \(stalled\)$/);
});
