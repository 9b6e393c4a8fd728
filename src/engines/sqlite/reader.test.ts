import { beforeEach, describe, expect, it } from 'vitest';
import type { DeliveryState } from '../../engine/log/index.ts';
import { openDatabase, type Database } from './binding.ts';
import { Reader } from './reader.ts';
import { stateNumbers } from './rows.ts';
import { migrate } from './schema.ts';

let database: Database;
let reader: Reader;

beforeEach(() => {
  database = openDatabase(':memory:', 0);
  migrate(database);
  reader = new Reader(database);
});

interface Given {
  readonly type?: string;
  readonly subject?: string | null;
  readonly recorded?: number;
  readonly data?: string | Uint8Array | null;
}

function publish(
  position: number,
  { type = 't', subject = null, recorded = position * 10, data = null }: Given = {},
): void {
  database
    .prepare(
      `INSERT INTO carillon_events (position, dedupe, recorded, id, source, type, subject, data)
       VALUES (?, ?, ?, ?, '/s', ?, ?, ?)`,
    )
    .run(position, position, recorded, `e${position}`, type, subject, data);
}

function deliver(
  subscription: number,
  position: number,
  state: DeliveryState,
  key: string | null = null,
  holds = 0,
): void {
  database
    .prepare(
      `INSERT INTO carillon_deliveries (subscription, position, state, key, attempts, at, holds, records, data)
       VALUES (?, ?, ?, ?, 2, 5, ?, '[]', '"edited"')`,
    )
    .run(subscription, position, stateNumbers[state], key, holds);
}

const wide = { after: 0, upTo: 1_000_000, limit: 1000, scanMax: 1_000_000 };
const positions = (rows: readonly { readonly position: number }[]): number[] => rows.map(({ position }) => position);

describe('reading events', () => {
  beforeEach(() => {
    for (const position of [1, 2, 3, 5, 6]) {
      publish(position, { type: position % 2 ? 'odd' : 'even', subject: position < 4 ? 'low' : null });
    }
  });

  it.each([
    ['all', {}, [1, 2, 3, 5, 6], 1_000_000],
    ['after a position', { after: 2 }, [3, 5, 6], 1_000_000],
    ['up to a position', { upTo: 3 }, [1, 2, 3], 3],
    ['no more than the limit', { limit: 2 }, [1, 2], 2],
    ['just the limit', { limit: 5 }, [1, 2, 3, 5, 6], 6],
    ['of a type', { type: 'even' }, [2, 6], 1_000_000],
    ['of a subject', { subject: 'low' }, [1, 2, 3], 1_000_000],
    ['of a type and a subject', { type: 'odd', subject: 'low' }, [1, 3], 1_000_000],
    ['within the window it may look at', { scanMax: 4 }, [1, 2, 3], 4],
    ['nothing of a window without a match', { after: 2, scanMax: 1, type: 'even' }, [], 3],
    ['nothing past the end', { after: 6, upTo: 6 }, [], 6],
  ])('%s', (_what, query, expected, scannedTo) => {
    const page = reader.read({ ...wide, ...query });
    expect([positions(page.rows), page.scannedTo]).toEqual([expected, scannedTo]);
  });

  it('gives each column', () => {
    publish(9, { data: new Uint8Array([1, 2]) });
    expect(reader.read({ ...wide, after: 8 }).rows).toMatchObject([
      { position: 9, recordedMs: 90, id: 'e9', source: '/s', type: 't', subject: null, data: new Uint8Array([1, 2]) },
    ]);
  });

  it('ends a page early when it grows large, and goes on behind it', () => {
    const large = 'x'.repeat(5 * 1024 * 1024);
    for (const position of [11, 12, 13]) publish(position, { data: large });
    const page = reader.read({ ...wide, after: 10 });
    expect([positions(page.rows), page.scannedTo]).toEqual([[11, 12], 12]);
    expect(positions(reader.read({ ...wide, after: 12 }).rows)).toEqual([13]);
  });

  it('tells the ends', () => {
    expect(reader.ends()).toEqual({ first: 1, last: 6, lastRecordedMs: 60 });
  });
});

describe('an empty log', () => {
  it('has no ends, and everything would come at 1', () => {
    expect(reader.ends()).toEqual({ first: 0, last: 0, lastRecordedMs: 0 });
    expect(reader.read({ ...wide, upTo: 0 })).toEqual({ rows: [], scannedTo: 0 });
    expect([reader.positionAt(0), reader.positionAt(1e15)]).toEqual([1, 1]);
  });

  it('lets subscriptions start at its beginning, wherever they ask to', () => {
    const froms = ['beginning', 'now', { position: 0 }, { position: 1 }, { timeMs: 5 }] as const;
    const starts = froms.map((from, index) => reader.openSubscription(`s${index}`, from).start);
    expect(starts).toEqual([0, 0, 0, 0, 0]);
  });
});

describe('positionAt', () => {
  it('is the first position recorded at or after a moment, holes or not', () => {
    const recorded = new Map([
      [2, 100],
      [3, 100],
      [7, 100],
      [9, 200],
      [20, 300],
    ]);
    for (const [position, ms] of recorded) publish(position, { recorded: ms });
    const at = (ms: number): number => {
      const position = reader.positionAt(ms);
      // Within a hole any place will do: what lies at or behind it is what counts.
      return reader.read({ ...wide, after: position - 1, limit: 1 }).rows[0]?.position ?? Infinity;
    };
    expect([0, 100, 101, 200, 201, 300].map(at)).toEqual([2, 2, 9, 9, 20, 20]);
    expect(reader.positionAt(301)).toBe(21);
  });
});

describe('openSubscription', () => {
  beforeEach(() => {
    for (const position of [1, 2, 3]) publish(position);
  });

  it.each([
    ['beginning' as const, 0],
    ['now' as const, 3],
    [{ position: 0 }, 0],
    [{ position: 2 }, 1],
    [{ position: 50 }, 49],
    [{ timeMs: 20 }, 1],
    [{ timeMs: 0 }, 0],
    [{ timeMs: 31 }, 3],
  ])('from %j starts after %i', (from, start) => {
    expect(reader.openSubscription('m.h', from)).toEqual({ no: 1, start, state: null });
  });

  it('finds the one there is, wherever it is asked to start', () => {
    reader.openSubscription('a', 'beginning');
    reader.openSubscription('b', 'beginning');
    expect(reader.openSubscription('b', 'now')).toEqual({ no: 2, start: 0, state: null });
    expect(reader.subscriptionNames()).toEqual(['a', 'b']);
  });
});

describe('readDeliveries', () => {
  const query = { states: ['retrying', 'begun', 'held', 'dead'] as const, limit: 100, withEvents: false };
  const found = (given: Parameters<Reader['readDeliveries']>[0]): string[] =>
    reader.readDeliveries(given).map(({ subscriptionName, position }) => `${subscriptionName}${position}`);

  beforeEach(() => {
    reader.openSubscription('a', 'beginning');
    reader.openSubscription('b', 'beginning');
    publish(1, { data: '"as published"', subject: 'k' });
    deliver(1, 1, 'dead', 'k', 1);
    deliver(2, 1, 'retrying');
    deliver(1, 2, 'begun', 'k');
    deliver(1, 4, 'held', 'k');
    deliver(1, 3, 'held', 'l');
  });

  it.each([
    ['all, by position and subscription', {}, ['a1', 'b1', 'a2', 'a3', 'a4']],
    ['of a number', { subscription: 2 }, ['b1']],
    ['of a name', { subscriptionName: 'a' }, ['a1', 'a2', 'a3', 'a4']],
    ['of a name that is not there', { subscriptionName: 'c' }, []],
    ['in a state', { states: ['held'] as const }, ['a3', 'a4']],
    ['in some states', { states: ['dead', 'begun'] as const }, ['a1', 'a2']],
    ['of a key', { key: 'k' }, ['a1', 'a2', 'a4']],
    ['at positions', { positions: [4, 1, 99] }, ['a1', 'b1', 'a4']],
    ['at no positions', { positions: [] }, []],
    ['after a position', { after: 2 }, ['a3', 'a4']],
    ['up to a limit', { limit: 2 }, ['a1', 'b1']],
    ['by all at once', { subscription: 1, states: ['held', 'dead'] as const, key: 'k', after: 1, limit: 1 }, ['a4']],
  ])('%s', (_what, given, expected) => {
    expect(found({ ...query, ...given })).toEqual(expected);
  });

  it('gives each column, and the event when asked', () => {
    const [row] = reader.readDeliveries({ ...query, withEvents: true, limit: 1 });
    expect(row).toEqual({
      subscription: 1,
      subscriptionName: 'a',
      position: 1,
      slot: 0,
      state: 'dead',
      key: 'k',
      attempts: 2,
      atMs: 5,
      holds: true,
      records: [],
      data: '"edited"',
      event: {
        position: 1,
        recordedMs: 10,
        slot: 0,
        askedBy: null,
        id: 'e1',
        source: '/s',
        type: 't',
        subject: 'k',
        time: null,
        attributes: null,
        data: '"as published"',
      },
    });
    expect(reader.readDeliveries({ ...query, limit: 1 })[0]?.event).toBeUndefined();
  });

  it('gives none for an event that is gone', () => {
    expect(reader.readDeliveries({ ...query, after: 3, withEvents: true })).toMatchObject([
      { position: 4, event: undefined },
    ]);
  });
});

describe('held keys and counts', () => {
  it('are those of the subscription alone', () => {
    reader.openSubscription('a', 'beginning');
    deliver(1, 1, 'dead', 'held-by-dead', 1);
    deliver(1, 2, 'held', 'held-by-dead');
    deliver(1, 3, 'held', 'held-by-dead');
    deliver(1, 4, 'dead', 'not-holding', 0);
    deliver(1, 5, 'retrying', 'failing');
    deliver(1, 6, 'held', 'waiting');
    deliver(1, 7, 'dead', null, 0);
    deliver(2, 8, 'held', 'of another');
    const keys = [...reader.heldKeys(1)].map((row) => ({ ...row })).toSorted((a, b) => (a.key < b.key ? -1 : 1));
    expect(keys).toEqual([
      { key: 'held-by-dead', held: 2, holding: 1 },
      { key: 'waiting', held: 1, holding: 0 },
    ]);
    expect(reader.deliveryCounts(1)).toEqual({ held: 3, dead: 3 });
    expect([reader.heldKeys(9), reader.deliveryCounts(9)]).toEqual([[], { held: 0, dead: 0 }]);
  });
});

describe('readDue', () => {
  const schedule = (id: string, due: number): void => {
    database.prepare("INSERT INTO carillon_scheduled (due, id, source, type) VALUES (?, ?, '/s', 't')").run(due, id);
  };

  it('gives what is due, the earliest first, and when the next is', () => {
    schedule('c', 30);
    schedule('a2', 10);
    schedule('a1', 10);
    schedule('b', 20);
    const { due, nextMs } = reader.readDue(20, 10);
    expect(due.map(({ event, dueMs }) => [event.id, dueMs])).toEqual([
      ['a2', 10],
      ['a1', 10],
      ['b', 20],
    ]);
    expect(nextMs).toBe(30);
    expect(due[0]?.event).toMatchObject({ position: 0, recordedMs: 0, source: '/s', type: 't', subject: null });
  });

  it('gives nothing before its time', () => {
    schedule('a', 10);
    expect(reader.readDue(9, 10)).toEqual({ due: [], nextMs: 10 });
    expect(reader.readDue(10, 10).nextMs).toBeNull();
  });

  it('cut short tells of the next one behind', () => {
    for (const [id, due] of [
      ['a', 0],
      ['b', 10],
      ['c', 10],
      ['d', 40],
    ] as const)
      schedule(id, due);
    expect([1, 2, 3, 4].map((limit) => reader.readDue(20, limit).nextMs)).toEqual([10, 10, 40, 40]);
  });
});
