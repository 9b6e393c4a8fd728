import { expect, it } from 'vitest';
import { type Observation, toEvent } from '../core/index.ts';
import { handledLine } from './handled-lines.ts';

const ended: Observation = {
  kind: 'delivery-end',
  subscription: 'welcome.greet',
  stored: {
    position: 12,
    recordedMs: 0,
    event: toEvent({ specversion: '1.0', id: 'x', source: '/s', type: 'greeting.requested' }),
  },
  attempt: 1,
  outcome: 'handled',
  durationMs: 0.84,
  latencyMs: 2,
};

it('tells how an attempt ended, in a line', () => {
  expect(handledLine(ended, false)).toBe('handled welcome.greet greeting.requested #12 attempt 1 0.8 ms');
  const failed: Observation = { ...ended, outcome: 'retried', error: new Error('two\nlines') };
  expect(handledLine(failed, false)).toBe(
    'retried welcome.greet greeting.requested #12 attempt 1 0.8 ms: two\\u000alines',
  );
});

it('tells it as JSON', () => {
  expect(JSON.parse(handledLine(ended, true) ?? '')).toEqual({
    kind: 'handled',
    subscription: 'welcome.greet',
    type: 'greeting.requested',
    id: 'x',
    position: 12,
    attempt: 1,
    durationMs: 0.84,
    latencyMs: 2,
  });
});

it('says nothing of what begins', () => {
  expect(handledLine({ kind: 'storage-full', full: true }, false)).toBeNull();
});
