import type { AddressInfo, Socket } from 'node:net';
import { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import {
  type Bus,
  type Clock,
  carillonError,
  defaultLimits,
  type Limits,
  type Logger,
  silentLogger,
  systemClock,
  toError,
} from '../core/index.ts';
import { trackConnections } from './connections.ts';
import { createGuard } from './guard.ts';
import { registerEvents, type RouteContext } from './http-events.ts';
import { registerOperations } from './http-operations.ts';
import { type HttpLimits, resolveHttpLimits } from './limits.ts';
import { HttpError, problemOf } from './problem.ts';

export interface GatewayOptions {
  readonly bus: Bus;
  readonly log?: Logger;
  /** The bus's bounds: incoming events are judged by them before the bus sees them. Default {@link defaultLimits}. */
  readonly limits?: Limits;
  readonly httpLimits?: Partial<HttpLimits>;
  readonly clock?: Clock;
}

export interface GatewayAddress {
  readonly host: string;
  /** The real one, where port 0 was asked for. */
  readonly port: number;
  /** `http://127.0.0.1:4600` */
  readonly url: string;
}

/** The edge of the event server: the bus over HTTP. */
export interface Gateway {
  /** Fails with `CARILLON_OPTION_INVALID` naming `port` or `host` when it cannot listen there. Called once. */
  start(at: { readonly host: string; readonly port: number }): Promise<GatewayAddress>;
  /**
   * Takes no more connections, ends the event streams, lets the requests in hand end, and closes what is left at the
   * deadline. Default 5,000 ms.
   */
  stop(options?: { readonly deadlineMs?: number }): Promise<void>;
}

/** Makes a gateway in front of a bus. It does not stop the bus. */
export function createGateway(options: GatewayOptions): Gateway {
  const { bus, log = silentLogger, limits = defaultLimits, clock = systemClock } = options;
  const httpLimits = resolveHttpLimits(options.httpLimits);
  const stopping = new AbortController();
  const app = createApp({ bus, log, clock, limits, httpLimits, stopping: stopping.signal });
  const connections = trackConnections(app.server);
  return {
    start: (at) => listen(app, at),
    stop: async ({ deadlineMs = 5_000 } = {}) => {
      stopping.abort();
      const force = clock.setTimer(deadlineMs, () => connections.destroy());
      const closed = app.close();
      connections.release();
      await closed;
      force.cancel();
    },
  };
}

function createApp(context: RouteContext): FastifyInstance {
  const { httpLimits, log } = context;
  const app = fastify({
    logger: false,
    trustProxy: false,
    bodyLimit: httpLimits.bodyBytesMax,
    requestTimeout: httpLimits.requestTimeoutMs,
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 1_024, ignoreTrailingSlash: true },
    http: {
      maxHeaderSize: httpLimits.headerBytesMax,
      headersTimeout: httpLimits.headersTimeoutMs,
      connectionsCheckingInterval: 5_000,
    },
    frameworkErrors: (error, request, reply) => fail(error, request, reply, log),
    clientErrorHandler: refuseBroken,
  });
  app.server.maxConnections = httpLimits.connectionsMax;
  app.removeAllContentTypeParsers();
  // Each route reads its own body: what it means depends on headers that fastify does not know.
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setErrorHandler((error, request, reply) => fail(error, request, reply, log));
  app.setNotFoundHandler((request) => {
    const path = pathOf(request);
    const error = carillonError('CARILLON_OPTION_INVALID', `there is nothing at ${path}`, { path });
    throw new HttpError(404, error);
  });
  app.addHook('onSend', async (_request, reply, payload) => {
    reply.header('x-content-type-options', 'nosniff');
    reply.header('cache-control', 'no-store');
    return payload;
  });
  const allowed = collectMethods(app);
  registerEvents(app, context);
  registerOperations(app, context);
  refuseOtherMethods(app, allowed);
  return app;
}

async function listen(app: FastifyInstance, at: { host: string; port: number }): Promise<GatewayAddress> {
  // One address, not every one the name has: what is printed is what is listened on.
  const host = at.host === 'localhost' ? '127.0.0.1' : at.host;
  const guard = createGuard(host);
  // Before the routes' own hooks and before any body is read.
  app.addHook('onRequest', async (request) => guard(request.headers));
  try {
    await app.listen({ host, port: at.port });
  } catch (error) {
    await app.close();
    throw listenError(error, host, at.port);
  }
  const { port } = app.server.address() as AddressInfo;
  return { host, port, url: `http://${host.includes(':') ? `[${host}]` : host}:${port}` };
}

function listenError(thrown: unknown, host: string, port: number): Error {
  const error = toError(thrown) as NodeJS.ErrnoException;
  const refuse = (option: string, message: string): Error =>
    carillonError('CARILLON_OPTION_INVALID', message, { option, host, port }, error);
  switch (error.code) {
    case 'EADDRINUSE':
      return refuse('port', `port ${port} on ${host} is taken by another process; stop it or choose another --port`);
    case 'EACCES':
      return refuse('port', `port ${port} may not be used by this user; choose one above 1023`);
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return refuse('host', `${JSON.stringify(host)} is no address of this machine`);
    default:
      return error;
  }
}

const pathOf = (request: FastifyRequest): string => request.url.split('?')[0] as string;

function collectMethods(app: FastifyInstance): ReadonlyMap<string, Set<string>> {
  const allowed = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const methods = allowed.get(url) ?? new Set();
    allowed.set(url, methods);
    for (const name of [method].flat()) methods.add(name);
  });
  return allowed;
}

/** Each path answers its other methods with 405 and the list of those it has, before a body is read. */
function refuseOtherMethods(app: FastifyInstance, allowed: ReadonlyMap<string, ReadonlySet<string>>): void {
  for (const [url, known] of [...allowed].map(([path, methods]) => [path, [...methods]] as const)) {
    const allow = known.join(', ');
    const refuse = async (request: FastifyRequest): Promise<never> => {
      const details = { method: request.method, path: pathOf(request), allow };
      const error = carillonError('CARILLON_OPTION_INVALID', `${url} takes ${allow}, not ${request.method}`, details);
      throw new HttpError(405, error, { allow });
    };
    const others = app.supportedMethods.filter((method) => !known.includes(method));
    app.route({ method: others, url, onRequest: refuse, handler: refuse });
  }
}

function fail(thrown: unknown, request: FastifyRequest, reply: FastifyReply, log: Logger): void {
  const { status, headers, body } = problemOf(translate(thrown, request));
  if (status >= 500 && body.code === 'CARILLON_BUG') {
    const { name, message, stack } = toError(thrown);
    log.error('a request failed', { method: request.method, path: pathOf(request), error: { name, message, stack } });
  }
  // Fastify's serializer is not asked: frameworkErrors come before a route, and so before one is chosen.
  void reply.code(status).headers(headers).type('application/json; charset=utf-8').send(JSON.stringify(body));
}

/** What fastify itself refuses, in words of the catalogue. */
function translate(thrown: unknown, request: FastifyRequest): unknown {
  const { code, statusCode } = (thrown ?? {}) as Partial<FastifyError>;
  if (thrown instanceof HttpError || typeof code !== 'string' || !code.startsWith('FST_')) return thrown;
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE': {
      const details = { limit: 'bodyBytesMax' };
      return new HttpError(
        413,
        carillonError('CARILLON_EVENT_TOO_LARGE', 'the body is larger than http.bodyBytesMax', details),
      );
    }
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE': {
      const message = `the content type ${JSON.stringify(request.headers['content-type'])} is no media type`;
      if (pathOf(request) !== '/events') {
        return new HttpError(415, carillonError('CARILLON_ENVELOPE_INVALID', message, { header: 'content-type' }));
      }
      // In binary mode the content type is an attribute.
      return carillonError('CARILLON_ATTRIBUTE_INVALID', message, { attribute: 'datacontenttype' });
    }
    default: {
      const status = statusCode ?? 500;
      if (status >= 500) return thrown;
      return new HttpError(status, carillonError('CARILLON_OPTION_INVALID', toError(thrown).message, {}));
    }
  }
}

/** Answers what is not HTTP, or too slow or too large to be read, straight on the socket. */
function refuseBroken(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, reason, message] = brokenStatus(error.code);
  const { body } = problemOf(new HttpError(400, carillonError('CARILLON_ENVELOPE_INVALID', message)));
  const text = JSON.stringify(body);
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
  );
}

function brokenStatus(code: string | undefined): readonly [number, string, string] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return [431, 'Request Header Fields Too Large', 'the headers are larger than http.headerBytesMax'];
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [408, 'Request Timeout', 'the request was not sent in time'];
    default:
      return [400, 'Bad Request', 'this is not HTTP'];
  }
}
