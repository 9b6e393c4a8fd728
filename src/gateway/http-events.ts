import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  BATCH_MEDIA_TYPE,
  type Bus,
  carillonError,
  type Clock,
  formatBatch,
  formatEvent,
  isCarillonError,
  type Limits,
  type Logger,
  type Page,
  type Published,
  type PublishOptions,
  type ReadQuery,
} from '../core/index.ts';
import { decodeRequest } from './http-binding.ts';
import type { HttpLimits } from './limits.ts';
import { badParameter, type Parameters, parseParameters, parseWhole } from './parameters.ts';
import { HttpError } from './problem.ts';
import { streamEvents } from './sse.ts';

/** What the routes work with. */
export interface RouteContext {
  readonly bus: Bus;
  readonly log: Logger;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly httpLimits: HttpLimits;
  /** Aborts when the gateway stops: open streams end. */
  readonly stopping: AbortSignal;
}

const FILTERS = ['type', 'subject', 'since', 'until'] as const;

/** `POST /events`, `GET /events`, `GET /events/stream`. */
export function registerEvents(app: FastifyInstance, context: RouteContext): void {
  app.post('/events', (request, reply) => publish(request, reply, context));
  app.get('/events', (request, reply) => readPage(request, reply, context));
  let streams = 0;
  app.get('/events/stream', async (request, reply) => {
    const query = await streamQuery(request, context.bus);
    if (streams >= context.httpLimits.streamsMax) {
      const max = context.httpLimits.streamsMax;
      throw new HttpError(
        503,
        carillonError('CARILLON_OVERLOADED', `${max} event streams are open, which is the most`, {
          limit: 'streamsMax',
        }),
      );
    }
    streams++;
    await stream(request, reply, query, context).finally(() => streams--);
  });
}

async function publish(request: FastifyRequest, reply: FastifyReply, { bus, limits }: RouteContext): Promise<unknown> {
  const parameters = parseParameters(request.url, ['delayMs', 'at', 'expectedRevision']);
  const options = publishOptions(parameters);
  const body = request.body instanceof Uint8Array ? request.body : new Uint8Array();
  const decoded = decodeRequest(request.raw.rawHeaders, body, limits);
  reply.code(202);
  if (decoded.mode !== 'batch') return answerOf(await bus.publish(decoded.event, options));
  if (decoded.events.length === 0) return [];
  return (await bus.publish(decoded.events, options)).map(answerOf);
}

function publishOptions(parameters: Parameters): PublishOptions {
  const delayMs = parameters.whole('delayMs');
  const at = parameters.moment('at');
  const revision = parameters.text('expectedRevision');
  if (delayMs !== undefined && at !== undefined) throw badParameter('at', 'delayMs and at exclude each other');
  return {
    ...(delayMs === undefined ? {} : { delayMs }),
    ...(at === undefined ? {} : { at }),
    ...(revision === undefined
      ? {}
      : { expectedRevision: revision === 'none' ? 'none' : parseWhole('expectedRevision', revision) }),
  };
}

/** `{id, position}`; the rest only where it says something. */
function answerOf({ id, position, duplicate, scheduledMs }: Published): unknown {
  return {
    id,
    position,
    ...(duplicate ? { duplicate } : {}),
    ...(scheduledMs === null ? {} : { scheduled: new Date(scheduledMs).toISOString() }),
  };
}

async function readPage(request: FastifyRequest, reply: FastifyReply, context: RouteContext): Promise<unknown> {
  const parameters = parseParameters(request.url, [...FILTERS, 'after', 'limit']);
  const after = parameters.whole('after') ?? 0;
  const limit = parameters.whole('limit', { min: 1, max: context.httpLimits.pageEventsMax }) ?? 100;
  const page = await named(() => context.bus.readPage({ ...filters(parameters), after, limit }));
  if (page.next !== null) reply.header('link', `<${nextUrl(request.url, page.next)}>; rel="next"`);
  if (wantsBatch(request)) {
    reply.type(`${BATCH_MEDIA_TYPE}; charset=utf-8`);
    return formatBatch(page.events.map(({ event }) => event));
  }
  // Events are text already; they are put together as text, so that each is encoded once.
  reply.type('application/json; charset=utf-8');
  return pageText(page);
}

function pageText({ events, next }: Page): string {
  const rows = events.map(
    ({ position, recordedMs, event }) =>
      `{"position":${position},"recordedtime":"${new Date(recordedMs).toISOString()}","event":${formatEvent(event)}}`,
  );
  return `{"events":[${rows.join(',')}],"next":${next === null ? 'null' : next}}`;
}

function nextUrl(url: string, next: number): string {
  const parameters = new URLSearchParams(url.split('?')[1] ?? '');
  parameters.set('after', String(next));
  return `/events?${parameters.toString()}`;
}

const wantsBatch = (request: FastifyRequest): boolean =>
  (request.headers.accept ?? '').toLowerCase().includes(BATCH_MEDIA_TYPE);

function filters(parameters: Parameters): ReadQuery {
  const type = parameters.text('type');
  const subject = parameters.text('subject');
  const sinceMs = parameters.moment('since');
  const untilMs = parameters.moment('until');
  return {
    ...(type === undefined ? {} : { type }),
    ...(subject === undefined ? {} : { subject }),
    ...(sinceMs === undefined ? {} : { sinceMs }),
    ...(untilMs === undefined ? {} : { untilMs }),
  };
}

/** A pattern is judged by the bus; the client knows it as the parameter `type`. */
async function named<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!isCarillonError(error, 'CARILLON_PATTERN_INVALID')) throw error;
    throw carillonError(error.code, error.message, { ...error.details, parameter: 'type' }, error);
  }
}

async function streamQuery(request: FastifyRequest, bus: Bus): Promise<ReadQuery & { readonly after: number }> {
  const parameters = parseParameters(request.url, [...FILTERS, 'after', 'from']);
  const given = filters(parameters);
  // One cheap look asks the bus whether it understands the filters, while a status can still be sent.
  const { last } = await bus.ends();
  await named(() => bus.readPage({ ...given, after: last, limit: 1 }));
  return { ...given, after: startOf(request, parameters, last) };
}

/** `Last-Event-ID` first: it is what a browser adds to the URL it was given. */
function startOf(request: FastifyRequest, parameters: Parameters, last: number): number {
  const lastEventId = request.headers['last-event-id'];
  const after = parameters.whole('after');
  const from = parameters.text('from');
  if (from !== undefined && from !== 'now' && from !== 'beginning') {
    throw badParameter('from', `from must be "now" or "beginning", not ${JSON.stringify(from)}`);
  }
  if (from !== undefined && after !== undefined) throw badParameter('from', 'from and after exclude each other');
  if (typeof lastEventId === 'string' && lastEventId !== '') return parseWhole('Last-Event-ID', lastEventId);
  return after ?? (from === 'beginning' ? 0 : last);
}

async function stream(
  request: FastifyRequest,
  reply: FastifyReply,
  query: ReadQuery & { readonly after: number },
  { bus, clock, httpLimits, log, stopping }: RouteContext,
): Promise<void> {
  const gone = new AbortController();
  request.raw.socket.once('close', () => gone.abort());
  reply.raw.once('close', () => gone.abort());
  reply.hijack();
  await streamEvents({
    bus,
    response: reply.raw,
    query,
    signal: AbortSignal.any([gone.signal, stopping]),
    clock,
    limits: httpLimits,
    log,
  });
}
