import { describe, expect, it } from 'vitest';
import { defaultLimits, makeEvent, silentLogger, type Event, type ReadQuery } from '../core/index.ts';
import type { Engine } from '../engine/index.ts';
import { memory } from '../engines/memory/index.ts';
import { fakeClock } from '../testing/index.ts';
import { engineQuery, follow, readAll, readPage } from './reading.ts';

const happened = (id: string, type = 'a', subject?: string): Event =>
  makeEvent({ specversion: '1.0', id, source: '/s', type, subject }, null);

async function opened(scanMax = defaultLimits.scanMax) {
  const engine = memory();
  const clock = fakeClock();
  const nothing = (): void => undefined;
  const limits = { ...defaultLimits, scanMax };
  await engine.open({
    clock,
    limits,
    log: silentLogger,
    onFailure: nothing,
    onStorageFull: nothing,
    onUnreachable: nothing,
    onAnswer: nothing,
  });
  const publish = (...events: readonly Event[]) =>
    engine.append({ events: events.map((event) => ({ event, data: 'null' })) });
  return { engine, clock, publish };
}

async function all(engine: Engine, query: ReadQuery = {}): Promise<string[]> {
  const ids: string[] = [];
  for await (const { event } of readAll(engine, query)) ids.push(event.id);
  return ids;
}

const many = (count: number, type = 'a'): Event[] =>
  Array.from({ length: count }, (_, no) => happened(`${type}${no}`, type));

describe('engineQuery', () => {
  it('lets the engine find a type by itself, and matches a pattern', () => {
    const exact = engineQuery({ type: 'a.b', subject: 's', sinceMs: 1, untilMs: 2, upTo: 9 }, 5);
    expect(exact).toEqual({
      after: 0,
      upTo: 9,
      type: 'a.b',
      subject: 's',
      sinceMs: 1,
      untilMs: 2,
      matches: undefined,
      limit: 5,
    });
    const pattern = engineQuery({ type: 'a.*', after: 3 }, 5);
    expect([pattern.type, pattern.after]).toEqual([undefined, 3]);
    expect(['a.b', 'a.b.c', 'b'].map((type) => pattern.matches?.(happened('x', type)))).toEqual([true, false, false]);
  });

  it('joins a pattern and a filter', () => {
    const { matches } = engineQuery({ type: 'a.>', filter: { exact: { subject: 'k' } } }, 5);
    const given = [happened('x', 'a.b', 'k'), happened('x', 'a.b', 'l'), happened('x', 'b', 'k')];
    expect(given.map((event) => matches?.(event))).toEqual([true, false, false]);
  });

  it.each([{ after: -1 }, { after: 1.5 }, { upTo: Number.NaN }, { after: 2 ** 60 }])('refuses %j', (query) => {
    expect(() => engineQuery(query, 1)).toThrow(expect.objectContaining({ code: 'CARILLON_POSITION_INVALID' }));
  });
});

describe('readPage', () => {
  it('has 100 events unless told otherwise, and says where to go on', async () => {
    const { engine, publish } = await opened();
    await publish(...many(150));
    const page = await readPage(engine, {});
    expect([page.events.length, page.next]).toEqual([100, 100]);
    expect((await readPage(engine, { after: 100 })).next).toBeNull();
    expect((await readPage(engine, { limit: 3 })).events.length).toBe(3);
  });

  it.each([0, -1, 1.5, Infinity])('refuses a limit of %s', async (limit) => {
    const { engine } = await opened();
    expect(() => readPage(engine, { limit })).toThrow(expect.objectContaining({ code: 'CARILLON_OPTION_INVALID' }));
  });
});

describe('readAll', () => {
  it('reads page after page to the end', async () => {
    const { engine, publish } = await opened();
    expect(await all(engine)).toEqual([]);
    await publish(...many(600));
    await publish(...many(600, 'b'));
    expect((await all(engine)).length).toBe(1200);
    expect(await all(engine, { type: 'b', after: 1100 })).toEqual(
      many(600, 'b')
        .slice(500)
        .map(({ id }) => id),
    );
  });

  it('stops at its limit, across pages too', async () => {
    const { engine, publish } = await opened();
    await publish(...many(700));
    expect((await all(engine, { limit: 601 })).at(-1)).toBe('a600');
    expect(await all(engine, { limit: 0 })).toEqual([]);
  });

  it('goes on where a page found nothing', async () => {
    const { engine, publish } = await opened(10);
    await publish(...many(50), happened('last', 'b'));
    expect(await all(engine, { type: 'b' })).toEqual(['last']);
    expect(await all(engine, { filter: { exact: { type: 'b' } } })).toEqual(['last']);
  });
});

describe('follow', () => {
  async function following(query: ReadQuery = {}) {
    const made = await opened();
    const controller = new AbortController();
    const seen: string[] = [];
    await made.publish(happened('old'), happened('older', 'b'));
    const done = (async () => {
      for await (const { event } of follow(made.engine, query, controller.signal)) {
        seen.push(event.id);
        if (event.id === 'stop') controller.abort();
      }
    })();
    await made.clock.settle();
    return { ...made, controller, seen, done };
  }

  it('reads what is there, then what comes', async () => {
    const { seen, publish, clock, controller, done } = await following();
    expect(seen).toEqual(['old', 'older']);
    await publish(happened('new'));
    await clock.settle();
    await publish(happened('newer'));
    await clock.settle();
    expect(seen).toEqual(['old', 'older', 'new', 'newer']);
    controller.abort();
    await done;
  });

  it('passes over what it does not ask for', async () => {
    const { seen, publish, clock, controller, done } = await following({ type: 'b', after: 1 });
    await publish(happened('no'));
    await clock.settle();
    await publish(happened('yes', 'b'));
    await clock.settle();
    expect(seen).toEqual(['older', 'yes']);
    controller.abort();
    await done;
  });

  it('ends at once when its signal aborts, within a page too', async () => {
    const { seen, publish, done, engine } = await following();
    await publish(happened('stop'), happened('after'));
    await done;
    expect(seen).toEqual(['old', 'older', 'stop']);
    expect((engine as unknown as { writer: { appendListeners: Set<unknown> } }).writer.appendListeners.size).toBe(0);
  });

  it('of an aborted signal gives nothing', async () => {
    const { engine, publish } = await opened();
    await publish(happened('x'));
    for await (const stored of follow(engine, {}, AbortSignal.abort())) expect(stored).toBe('nothing');
    expect((await engine.ends()).last).toBe(1);
  });
});
