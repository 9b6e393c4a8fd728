import { describe, expect, it } from 'vitest';
import type { CommitBatch, DeliveryRow, EventRow, StoreUnit } from '../../engine/log/index.ts';
import { emptyBatch } from '../../engine/log/store.ts';
import { columnsOf, commitResult, commitStatement, commitValues, dedupeOf } from './batch.ts';
import { stateNumbers } from './rows.ts';

const row = (id: string, more: Partial<EventRow> = {}): EventRow => ({
  position: 0,
  recordedMs: 0,
  slot: 7,
  askedBy: null,
  id,
  source: '/s',
  type: 't',
  subject: null,
  time: null,
  attributes: null,
  data: null,
  ...more,
});
const unit = (rows: readonly EventRow[], more: Partial<StoreUnit> = {}): StoreUnit => ({
  rows,
  expectedRevision: undefined,
  subject: null,
  scheduled: undefined,
  ...more,
});
const batch = (more: Partial<CommitBatch> = {}): CommitBatch => ({
  ...emptyBatch,
  recordedMs: 5,
  ...more,
});
const delivery = (position: number, attempts: number, state: DeliveryRow['state']): DeliveryRow => ({
  subscription: 3,
  position,
  slot: 0,
  state,
  key: 'k',
  attempts,
  atMs: 1,
  holds: false,
  records: [],
  data: null,
});
/** Values of `commit`, by the place of its parameters. */
const at = { member: 1, asked: 14, units: 16, put: 20 };

describe('events as columns', () => {
  it('are texts with a mark between the values, another for none, and null for all none', () => {
    const { values } = columnsOf([row('a', { subject: 'x', data: '1' }), row('b', { data: new Uint8Array([255]) })]);
    const [, slots, ids, sources, types, subjects, times, attributes, texts, bytes] = values;
    expect({ slots, ids, sources, types, subjects, times, attributes, texts, bytes }).toEqual({
      slots: '7,7',
      ids: 'a\x01b',
      sources: '/s\x01/s',
      types: 't\x01t',
      subjects: 'x\x01\x02',
      times: null,
      attributes: null,
      texts: '1\x01\x02',
      bytes: '\x02\x01ff',
    });
  });

  it('an empty text is not none', () => {
    expect(columnsOf([row('a', { data: '' })]).values[8]).toBe('');
    expect(columnsOf([row('a', { data: new Uint8Array() })]).values[9]).toBe('');
  });

  it('two of one number are not apart: they may be one event twice', () => {
    expect(columnsOf([row('a'), row('b')]).apart).toBe(true);
    expect(columnsOf([row('a'), row('a')]).apart).toBe(false);
  });

  it('a number is above 0 for an id that rises with time, else below', () => {
    expect(dedupeOf({ source: '/s', id: '018f4d1c-7b7a-7000-8000-000000000000' })).toBeGreaterThan(0);
    expect(dedupeOf({ source: '/s', id: 'a' })).toBeLessThan(0);
    expect(dedupeOf({ source: '/s', id: 'a' })).not.toBe(dedupeOf({ source: '/r', id: 'a' }));
  });
});

describe('a call of commit', () => {
  it('has as many values as parameters', () => {
    const parameters = commitStatement('commit').match(/\$\d+/g) ?? [];
    expect(commitValues(batch(), 1, 1, null).length).toBe(parameters.length);
    expect(commitStatement('commit', 'x, ')).toMatch(/^SELECT x, before,/);
  });

  it('names the member only for what needs its leases', () => {
    const member = (more: Partial<CommitBatch>): unknown => commitValues(batch(more), 9, 3, null)[at.member];
    expect(member({ units: [unit([row('a')])] })).toBeNull();
    expect(member({ answers: [{ asker: 1, source: '/s', id: 'a', subscription: 'h', answer: '{}' }] })).toBeNull();
    expect(member({ unschedule: [{ source: '/s', id: 'a' }] })).toBeNull();
    expect(member({ remove: [{ subscription: 1, position: 1 }] })).toBe(9);
    expect(member({ states: [{ subscription: 1, share: 1, version: 1, state: new Uint8Array() }] })).toBe(9);
    expect(member({ joined: 1, units: [unit([row('a')])] })).toBe(9);
    expect(member({ arrangements: [{ subscription: 1, held: [], kept: null, freed: null }] })).toBe(9);
  });

  it('tells the shape of units only where one has a condition', () => {
    const shapes = (...units: StoreUnit[]): unknown => commitValues(batch({ units }), 1, 1, null)[at.units];
    expect(shapes(unit([row('a')]), unit([row('b'), row('c')]))).toBeNull();
    const some = shapes(
      unit([row('a')]),
      unit([row('b'), row('c')], { expectedRevision: 'none', subject: 's' }),
      unit([row('d')], { expectedRevision: 4, subject: 's' }),
      unit([row('e')], { scheduled: 8 }),
    );
    expect(JSON.parse(some as string)).toEqual([
      { events: 1 },
      { events: 2, expected: 0, subject: 's' },
      { events: 1, expected: 4, subject: 's' },
      { events: 1, scheduled: 8 },
    ]);
  });

  it('names who asked', () => {
    const rows = [row('a'), row('b', { askedBy: 12 })];
    expect(commitValues(batch({ units: [unit(rows)] }), 1, 1, null)[at.asked]).toBe('\x02\x0112');
  });
});

describe('what commit answers', () => {
  const told = { before: null, moment: null, first: null, positions: null };

  it('positions that follow each other, from the first on', () => {
    const given = batch({ units: [unit([row('a')]), unit([row('b'), row('c')])] });
    const result = commitResult(given, { ...told, before: '41', moment: '99', first: '42' });
    expect([...result.positions]).toEqual([42, 43, 44]);
    expect(result.amidOthers).toEqual({ before: 41, recordedMs: 99 });
    expect([result.refused, result.scheduled, result.unscheduled, result.arranged]).toEqual([[], [], [], []]);
  });

  it('positions one by one, beyond 32 bits', () => {
    const given = batch({ units: [unit([row('a'), row('b')])] });
    const result = commitResult(given, { ...told, before: '0', moment: '0', positions: ['-7', '9007199254740991'] });
    expect([...result.positions]).toEqual([-7, Number.MAX_SAFE_INTEGER]);
  });

  it('of no events: none, and nobody else’s either', () => {
    const result = commitResult(batch(), { ...told, arranged: ['3', null] });
    expect([...result.positions]).toEqual([]);
    expect(result.amidOthers).toBeNull();
    expect(result.arranged).toEqual([3, null]);
  });
});

/** Of the parameters of `commit`, the rows it writes. */
const written = (given: Partial<CommitBatch>): unknown => {
  const text = commitValues(batch(given), 1, 1, null)[at.put];
  return text === null ? null : JSON.parse(text as string);
};

describe('the rows of a commit', () => {
  it('write a row once, as it was put last', () => {
    const put = [delivery(7, 2, 'begun'), delivery(8, 1, 'begun'), delivery(7, 2, 'retrying')];
    expect(written({ put })).toMatchObject([
      { p: 7, state: stateNumbers.retrying },
      { p: 8, state: stateNumbers.begun },
    ]);
  });

  it('do not write a row that is removed in the same commit', () => {
    const remove = [{ subscription: 3, position: 7 }];
    expect(written({ put: [delivery(7, 2, 'begun'), delivery(8, 1, 'begun')], remove })).toMatchObject([{ p: 8 }]);
    expect(written({ put: [delivery(7, 2, 'begun')], remove })).toBeNull();
  });
});
