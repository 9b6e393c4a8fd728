import { toError } from '../core/index.ts';
import type { Problem } from '../gateway/index.ts';
import { parseServerSentEvents, type ServerSentEvent } from './server-sent-events.ts';

/** The server answered, and refused. */
export class ServerProblem extends Error {
  readonly status: number;
  readonly problem: Problem;

  constructor(status: number, problem: Problem) {
    super(problem.message);
    this.name = 'ServerProblem';
    this.status = status;
    this.problem = problem;
  }
}

/** No server answers. */
export class Unreachable extends Error {
  constructor(url: string, cause: unknown) {
    const inner = toError(toError(cause).cause ?? cause) as NodeJS.ErrnoException;
    super(`no server answers at ${url} (${inner.code ?? inner.message})`, { cause });
    this.name = 'Unreachable';
  }
}

/** A running event server, over HTTP. Fails with {@link ServerProblem}, {@link Unreachable}. */
export interface Client {
  readonly url: string;
  get(path: string): Promise<unknown>;
  post(path: string, contentType: string, body: string): Promise<unknown>;
  /** One connection's worth of server-sent events: ends when the server ends it, fails when it breaks. */
  stream(path: string, lastEventId: string | undefined): AsyncIterable<ServerSentEvent>;
}

export function createClient(url: string): Client {
  const base = url.replace(/\/+$/, '');
  const send = async (path: string, init: RequestInit): Promise<Response> => {
    let response: Response;
    try {
      response = await fetch(base + path, init);
    } catch (error) {
      throw new Unreachable(base, error);
    }
    if (!response.ok) throw new ServerProblem(response.status, await problemOf(response));
    return response;
  };
  return {
    url: base,
    get: async (path) => (await send(path, {})).json(),
    post: async (path, contentType, body) =>
      (await send(path, { method: 'POST', headers: { 'content-type': contentType }, body })).json(),
    async *stream(path, lastEventId) {
      const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
      const { body } = await send(path, { headers: { accept: 'text/event-stream', ...headers } });
      if (body) yield* parseServerSentEvents(body);
    },
  };
}

/** What stands at the URL may be something else altogether. */
async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text();
  try {
    const parsed = JSON.parse(text) as Partial<Problem>;
    if (typeof parsed.code === 'string' && typeof parsed.message === 'string') return parsed as Problem;
  } catch {
    // Told below.
  }
  return {
    code: 'CARILLON_BUG',
    message: `HTTP ${response.status} without an explanation`,
    fix: 'Check that the URL is that of a carillon server.',
    details: {},
  };
}
