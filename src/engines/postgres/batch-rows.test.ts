import { describe, expect, it } from 'vitest';
import type { CommitBatch, DeliveryRow } from '../../engine/log/index.ts';
import { commitValues } from './batch.ts';
import { stateNumbers } from './rows.ts';

const row = (position: number, attempts: number, state: DeliveryRow['state']): DeliveryRow => ({
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

const batchOf = (given: Partial<CommitBatch>): CommitBatch => ({
  generation: 0,
  recordedMs: 1,
  units: [],
  joined: 0,
  states: [],
  put: [],
  remove: [],
  schedule: [],
  unschedule: [],
  arrangements: [],
  answers: [],
  ...given,
});

/** Of the parameters of `commit`, the rows it writes. */
const written = (given: Partial<CommitBatch>): unknown => {
  const text = commitValues(batchOf(given), 1, 1, null)[20];
  return text === null ? null : JSON.parse(text as string);
};

describe('the values of a commit', () => {
  it('write a row once, as it was put last', () => {
    const put = [row(7, 2, 'begun'), row(8, 1, 'begun'), row(7, 2, 'retrying')];
    expect(written({ put })).toMatchObject([
      { p: 7, state: stateNumbers.retrying },
      { p: 8, state: stateNumbers.begun },
    ]);
  });

  it('do not write a row that is removed in the same commit', () => {
    const remove = [{ subscription: 3, position: 7 }];
    expect(written({ put: [row(7, 2, 'begun'), row(8, 1, 'begun')], remove })).toMatchObject([{ p: 8 }]);
    expect(written({ put: [row(7, 2, 'begun')], remove })).toBeNull();
  });
});
