import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isCarillonError, type CarillonError } from './errors.ts';
import type { Event } from './event.ts';
import { assertFilter, compileFilter, explainFilter, refusalText, type Filter, type FilterRefusal } from './filter.ts';

const event: Event = {
  specversion: '1.0',
  id: '1',
  source: '/shop',
  type: 'order.placed',
  subject: 'order/7',
  data: { type: 'not an attribute' },
  partitionkey: 'Grün',
  level: -5,
  urgent: false,
};

const refused = (filter: unknown): CarillonError => {
  try {
    assertFilter(filter, 'filter');
  } catch (error) {
    if (isCarillonError(error, 'CARILLON_FILTER_INVALID')) return error;
    throw error;
  }
  throw new Error('the filter was not refused');
};

const nested = (depth: number): Filter => (depth === 1 ? { exact: { type: 'a' } } : { not: nested(depth - 1) });

describe('compileFilter', () => {
  it.each<[string, Filter | Filter[], boolean]>([
    ['exact', { exact: { type: 'order.placed' } }, true],
    ['exact in other case', { exact: { type: 'Order.placed' } }, false],
    ['exact, all attributes', { exact: { type: 'order.placed', source: '/shop' } }, true],
    ['exact, one attribute differs', { exact: { type: 'order.placed', source: '/elsewhere' } }, false],
    ['prefix', { prefix: { subject: 'order/' } }, true],
    ['prefix, the whole', { prefix: { subject: 'order/7' } }, true],
    ['prefix longer than the attribute', { prefix: { subject: 'order/77' } }, false],
    ['suffix', { suffix: { type: '.placed', subject: '7' } }, true],
    ['suffix that does not fit', { suffix: { type: 'order' } }, false],
    ['an integer in its string form', { exact: { level: '-5' } }, true],
    ['the beginning of an integer', { prefix: { level: '-' } }, true],
    ['a boolean in its string form', { exact: { urgent: 'false' } }, true],
    ['an absent attribute', { exact: { dataschema: 'x' } }, false],
    ['an absent attribute, negated', { not: { exact: { dataschema: 'x' } } }, true],
    ['what every object inherits', { prefix: { constructor: 'f' } }, false],
    ['all', { all: [{ exact: { id: '1' } }, { prefix: { type: 'order.' } }] }, true],
    ['all but one', { all: [{ exact: { id: '1' } }, { prefix: { type: 'x' } }] }, false],
    ['any', { any: [{ exact: { id: '2' } }, { prefix: { type: 'order.' } }] }, true],
    ['none of any', { any: [{ exact: { id: '2' } }, { prefix: { type: 'x' } }] }, false],
    ['not', { not: { exact: { id: '1' } } }, false],
    ['nested', { all: [{ any: [{ not: { not: { exact: { id: '1' } } } }] }] }, true],
    ['a list', [{ exact: { id: '1' } }, { suffix: { type: 'placed' } }], true],
    ['a list with one that refuses', [{ exact: { id: '1' } }, { suffix: { type: 'x' } }], false],
    ['an empty list', [], true],
  ])('%s', (_, filter, expected) => {
    expect(compileFilter(filter)(event)).toBe(expected);
    expect(explainFilter(filter, event) === null).toBe(expected);
  });

  it('is not affected by later changes to its filter', () => {
    const filter = { exact: { type: 'order.placed' } };
    const passes = compileFilter(filter);
    filter.exact.type = 'other';
    expect(passes(event)).toBe(true);
  });
});

describe('assertFilter', () => {
  it.each<[unknown, string]>([
    [null, 'filter'],
    ['type', 'filter'],
    [{}, 'filter'],
    [{ exact: { type: 'a' }, prefix: { type: 'a' } }, 'filter'],
    [{ sql: 'TRUE' }, 'filter'],
    [{ exact: null }, 'filter.exact'],
    [{ exact: {} }, 'filter.exact'],
    [{ exact: { type: '' } }, 'filter.exact.type'],
    [{ exact: { '': 'a' } }, 'filter.exact.'],
    [{ exact: { data: 'a' } }, 'filter.exact.data'],
    [{ exact: { Subject: 'a' } }, 'filter.exact.Subject'],
    [{ exact: { level: 5 } }, 'filter.exact.level'],
    [{ all: [] }, 'filter.all'],
    [{ any: [] }, 'filter.any'],
    [{ any: { exact: { type: 'a' } } }, 'filter.any'],
    [{ not: [{ exact: { type: 'a' } }] }, 'filter.not'],
    [
      { all: [{ exact: { type: 'a' } }, { any: [{ not: { suffix: { type: 1 } } }] }] },
      'filter.all[1].any[0].not.suffix.type',
    ],
    [[{ exact: { type: 'a' } }, []], 'filter[1]'],
  ])('refuses %j, naming %s', (filter, path) => {
    const error = refused(filter);
    expect(error.details).toEqual({ path });
    expect(error.message.startsWith(`${path} `)).toBe(true);
  });

  it('bounds depth and clauses, also of what refers to itself', () => {
    expect(() => assertFilter(nested(16))).not.toThrow();
    expect(refused(nested(17)).message).toContain('deeper than 16');
    const circle: { not?: unknown } = {};
    circle.not = circle;
    expect(refused(circle).message).toContain('deeper than 16');

    const clauses = (count: number): Filter[] => Array.from({ length: count }, () => ({ exact: { type: 'a' } }));
    expect(() => assertFilter(clauses(256))).not.toThrow();
    expect(refused(clauses(257)).details).toEqual({ path: 'filter[256].exact.type' });
    expect(refused({ any: clauses(256) }).message).toContain('up to 256');
  });
});

describe('explainFilter', () => {
  const told = (filter: Filter | Filter[]): FilterRefusal => {
    const refusal = explainFilter(filter, event);
    if (refusal === null) throw new Error('the filter passed');
    return refusal;
  };

  it('names the first comparison that refused, what it wanted and what it found', () => {
    expect(told({ all: [{ exact: { id: '1' } }, { prefix: { source: '/shop', subject: 'x' } }] })).toEqual({
      path: 'filter.all[1].prefix.subject',
      dialect: 'prefix',
      attribute: 'subject',
      wanted: 'x',
      actual: 'order/7',
      negated: false,
      others: [],
    });
    expect(told([{ exact: { dataschema: 'x' } }]).actual).toBeNull();
    expect(told({ exact: { level: '5' } }).actual).toBe('-5');
  });

  it('tells what fits though it must not', () => {
    const refusal = told({ not: { any: [{ exact: { id: '2' } }, { prefix: { id: '1' } }] } });
    expect(refusal).toMatchObject({ path: 'filter.not.any[1].prefix.id', negated: true, actual: '1' });
    expect(refusalText(refusal)).toBe('filter.not.any[1].prefix.id must not fit "1", the event has "1"');
  });

  it('lists every alternative of an `any`', () => {
    const refusal = told({ any: [{ exact: { id: '2' } }, { exact: { dataschema: 'x' } }] });
    expect(refusal.others.map((other) => other.path)).toEqual(['filter.any[1].exact.dataschema']);
    expect(refusalText(refusal)).toBe(
      'filter.any[0].exact.id wants "2", the event has "1"; filter.any[1].exact.dataschema wants "x", the event has none',
    );
  });

  it('agrees with compileFilter on any filter', () => {
    const texts = fc.dictionary(
      fc.constantFrom('type', 'id', 'level', 'urgent', 'absent'),
      fc.constantFrom('1', 'order.placed', '-5', 'false'),
      {
        minKeys: 1,
      },
    );
    const { filter } = fc.letrec<{ filter: Filter }>((tie) => ({
      filter: fc.oneof(
        { maxDepth: 4 },
        texts.map((exact): Filter => ({ exact })),
        texts.map((prefix): Filter => ({ prefix })),
        texts.map((suffix): Filter => ({ suffix })),
        fc.array(tie('filter'), { minLength: 1, maxLength: 3 }).map((all): Filter => ({ all })),
        fc.array(tie('filter'), { minLength: 1, maxLength: 3 }).map((any): Filter => ({ any })),
        tie('filter').map((not): Filter => ({ not })),
      ),
    }));
    let passed = 0;
    fc.assert(
      fc.property(filter, (one) => {
        const passes = compileFilter(one)(event);
        if (passes) passed++;
        return passes === (explainFilter(one, event) === null);
      }),
      { numRuns: 5_000 },
    );
    expect(passed).toBeGreaterThan(500);
  });
});
