import {
  carillonError,
  compileFilter,
  compilePattern,
  hasWildcard,
  isCarillonError,
  type Event,
  type Page,
  type ReadQuery,
  type StoredEvent,
} from '../core/index.ts';
import type { Engine, EngineQuery } from '../engine/index.ts';

const PAGE_LIMIT = 100;
const READ_PAGE = 500;

function position(name: string, value: number | undefined): number | undefined {
  if (value === undefined || (Number.isSafeInteger(value) && value >= 0)) return value;
  throw carillonError('CARILLON_POSITION_INVALID', `${name} must be a whole number from 0, not ${String(value)}`, {
    option: name,
  });
}

/** A query as engines take it: patterns and filters become one predicate. @internal exported for its tests */
export function engineQuery(query: ReadQuery, limit: number): EngineQuery {
  const { type, filter } = query;
  const pattern = type !== undefined && hasWildcard(type) ? compilePattern(type) : null;
  const passes = filter === undefined ? null : compileFilter(filter);
  const matches = (event: Event): boolean =>
    (pattern === null || pattern(event.type)) && (passes === null || passes(event));
  return {
    after: position('after', query.after) ?? 0,
    upTo: position('upTo', query.upTo),
    type: pattern === null ? type : undefined,
    subject: query.subject,
    sinceMs: query.sinceMs,
    untilMs: query.untilMs,
    matches: pattern === null && passes === null ? undefined : matches,
    limit,
  };
}

export function readPage(engine: Engine, query: ReadQuery): Promise<Page> {
  const { limit = PAGE_LIMIT } = query;
  if (!Number.isSafeInteger(limit) || limit < 1) {
    throw carillonError('CARILLON_OPTION_INVALID', `limit must be a whole number from 1, not ${String(limit)}`, {
      option: 'limit',
    });
  }
  return engine.readPage(engineQuery(query, limit));
}

/** The log up to its end, page by page as it is consumed. */
export async function* readAll(engine: Engine, query: ReadQuery): AsyncIterable<StoredEvent> {
  let left = query.limit ?? Infinity;
  let after = query.after ?? 0;
  while (left > 0) {
    const page = await readPage(engine, { ...query, after, limit: Math.min(READ_PAGE, left) });
    yield* page.events;
    left -= page.events.length;
    if (page.next === null) return;
    after = page.next;
  }
}

/** The log from a position on, then what is appended, until the signal aborts. Holds one page in memory. */
export async function* follow(engine: Engine, query: ReadQuery, signal: AbortSignal): AsyncIterable<StoredEvent> {
  let after = query.after ?? 0;
  let wake: (() => void) | null = null;
  const unsubscribe = engine.onAppend(() => wake?.());
  const abort = (): void => wake?.();
  signal.addEventListener('abort', abort);
  try {
    while (!signal.aborted) {
      // Made before looking, so that an append between is not missed.
      const appended = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const { last } = await engine.ends();
      const page = await engine.readPage(engineQuery({ ...query, after }, READ_PAGE));
      for (const stored of page.events) {
        if (signal.aborted) return;
        yield stored;
      }
      // Everything up to `last` was looked at, whether it matched or not.
      after = page.next ?? Math.max(after, last, page.events.at(-1)?.position ?? 0);
      if (page.next === null && !signal.aborted) await appended;
    }
  } catch (error) {
    if (signal.aborted && isCarillonError(error, 'CARILLON_STOPPED')) return;
    throw error;
  } finally {
    unsubscribe();
    signal.removeEventListener('abort', abort);
  }
}
