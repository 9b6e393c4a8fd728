import { describe, expect, it } from 'vitest';
import { carillonError } from '../../core/index.ts';
import type { Outcome } from '../engine.ts';
import { decodeAnswer, encodeOutcome } from './answers.ts';

const over = (outcome: Outcome): Outcome =>
  decodeAnswer({ asker: 1, source: '/s', id: 'a', subscription: 'm.h', answer: encodeOutcome(outcome) }).outcome;

describe('an answer on its way to another process', () => {
  it.each([[{ price: 5 }], [[1, 'two', null]], ['text'], [0], [false], [null]])('%j comes back', (value) => {
    expect(over({ value })).toEqual({ value });
  });

  it('nothing comes back as nothing', () => expect(over({ value: undefined })).toEqual({ value: undefined }));

  it('an error comes back with its message, and with its code where it has one', () => {
    const of = (outcome: Outcome) => (outcome as { error: Error & { code?: string } }).error;
    const plain = of(over({ error: new Error('no stock') }));
    expect([plain instanceof Error, plain.message, plain.code]).toEqual([true, 'no stock', undefined]);
    expect(of(over({ error: carillonError('CARILLON_GAVE_UP', 'for good') }))).toMatchObject({
      message: 'for good',
      code: 'CARILLON_GAVE_UP',
    });
  });

  it('what cannot be written as JSON is an error for who asked', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    for (const value of [circle, 5n]) {
      expect(over({ value })).toMatchObject({ error: { code: 'CARILLON_DATA_INVALID' } });
    }
  });

  it('says whose it is', () => {
    const answer = { asker: 1, source: '/s', id: 'a', subscription: 'm.h', answer: '{"value":1}' };
    expect(decodeAnswer(answer)).toEqual({ source: '/s', id: 'a', subscription: 'm.h', outcome: { value: 1 } });
  });
});
