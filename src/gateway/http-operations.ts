import type { FastifyInstance, FastifyRequest } from 'fastify';
import {
  carillonError,
  type DeadLetter,
  type DeadLetterSelection,
  formatEvent,
  type SubscriptionState,
} from '../core/index.ts';
import type { RouteContext } from './http-events.ts';
import { parseMediaType } from './media-type.ts';
import { badParameter, parseParameters, parseWhole } from './parameters.ts';
import { HttpError } from './problem.ts';

/** What an operator asks: health, how the handlers stand, and the dead letters. */
export function registerOperations(app: FastifyInstance, { bus }: RouteContext): void {
  app.route({
    method: ['GET', 'HEAD'],
    url: '/healthz',
    handler: (_request, reply) => reply.send({ status: 'alive' }),
  });
  app.route({
    method: ['GET', 'HEAD'],
    url: '/readyz',
    handler: async (_request, reply) => {
      const health = await bus.health();
      const ready = health.status === 'ready' || health.status === 'degraded';
      if (!ready) reply.code(503).header('retry-after', '1');
      return health;
    },
  });
  app.get('/handlers', async (request) => {
    parseParameters(request.url, []);
    return { handlers: (await bus.subscriptions()).map(toldHandler) };
  });

  app.get('/dead', async (request) => {
    const parameters = parseParameters(request.url, ['subscription', 'after', 'limit']);
    const subscription = parameters.text('subscription');
    const letters = await bus.deadLetters.list({
      ...(subscription === undefined ? {} : { subscription }),
      after: parameters.whole('after') ?? 0,
      limit: parameters.whole('limit', { min: 1, max: 1_000 }) ?? 100,
    });
    return { dead: letters.map(toldDeadLetter) };
  });
  app.get<{ Params: { subscription: string; position: string } }>('/dead/:subscription/:position', async (request) => {
    const { subscription, position } = request.params;
    return toldDeadLetter(await bus.deadLetters.get(subscription, parseWhole('position', position)));
  });
  app.post('/dead/redrive', async (request) => {
    const { selection, edit } = parseSelection(request, true);
    return { redriven: await bus.deadLetters.redrive(selection, edit) };
  });
  app.post('/dead/discard', async (request) => {
    const { selection } = parseSelection(request, false);
    return { discarded: await bus.deadLetters.discard(selection) };
  });
}

/** JSON has no Infinity; as text it still says what the strategy means. */
function toldHandler(state: SubscriptionState): unknown {
  return JSON.parse(
    JSON.stringify(state, (_name, value: unknown) => (value === Number.POSITIVE_INFINITY ? 'Infinity' : value)),
  );
}

/** Stacks name the server's files, so they stay in its log. */
function toldDeadLetter(letter: DeadLetter): unknown {
  return {
    ...letter,
    deadtime: new Date(letter.deadMs).toISOString(),
    attempts: letter.attempts.map(({ error: { stack: _stack, ...error }, ...attempt }) => ({ ...attempt, error })),
    event: JSON.parse(formatEvent(letter.event)) as unknown,
  };
}

interface Selected {
  readonly selection: DeadLetterSelection;
  readonly edit: { readonly data: unknown } | undefined;
}

function parseSelection(request: FastifyRequest, editable: boolean): Selected {
  parseParameters(request.url, []);
  const body = parseObject(request);
  const known = editable ? ['subscription', 'positions', 'data'] : ['subscription', 'positions'];
  const unknown = Object.keys(body).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw badParameter(unknown, `there is no member ${JSON.stringify(unknown)} here; there is: ${known.join(', ')}`);
  }
  const { subscription, positions } = body;
  if (typeof subscription !== 'string' || subscription === '') {
    throw badParameter('subscription', 'subscription must name a subscription');
  }
  if (positions !== undefined && !isPositions(positions)) {
    throw badParameter('positions', 'positions must be an array of whole numbers from 1, not empty');
  }
  return {
    selection: positions === undefined ? { subscription } : { subscription, positions },
    edit: Object.hasOwn(body, 'data') ? { data: body['data'] } : undefined,
  };
}

const isPositions = (value: unknown): value is readonly number[] =>
  Array.isArray(value) && value.length > 0 && value.every((item) => Number.isSafeInteger(item) && item > 0);

/** Only `application/json`: a form of another site can send neither that type nor, without it, get here. */
function parseObject(request: FastifyRequest): Record<string, unknown> {
  if (parseMediaType(request.headers['content-type'] ?? '')?.essence !== 'application/json') {
    throw new HttpError(
      415,
      carillonError('CARILLON_ENVELOPE_INVALID', 'send application/json', { header: 'content-type' }),
    );
  }
  let body: unknown;
  try {
    const bytes = request.body instanceof Uint8Array ? request.body : new Uint8Array();
    body = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw badParameter('body', 'the body is no JSON');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw badParameter('body', 'the body must be a JSON object');
  }
  return body as Record<string, unknown>;
}
