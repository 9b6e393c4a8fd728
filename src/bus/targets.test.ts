import { describe, expect, it } from 'vitest';
import { defineEvent, type Target } from '../core/index.ts';
import { patternsOf, targetText, typeMatcher, typesNamed } from './targets.ts';

const Placed = defineEvent('order.placed');
const Paid = defineEvent('order.paid');
const types = ['order.placed', 'order.paid', 'order.item.added', 'machine.started'];

describe('a target', () => {
  it.each<[string, Target, string[], string[], string]>([
    ['a type', 'order.placed', ['order.placed'], ['order.placed'], 'order.placed'],
    ['a definition', Placed, ['order.placed'], ['order.placed'], 'order.placed'],
    [
      'several',
      [Placed, Paid],
      ['order.placed', 'order.paid'],
      ['order.placed', 'order.paid'],
      'order.placed, order.paid',
    ],
    ['a pattern of one token', 'order.*', ['order.placed', 'order.paid'], [], 'order.*'],
    ['a pattern of the rest', 'order.>', ['order.placed', 'order.paid', 'order.item.added'], [], 'order.>'],
    ['everything', '>', types, [], '>'],
  ])('that is %s', (_what, target, wanted, named, text) => {
    expect(types.filter(typeMatcher(target))).toEqual(wanted);
    expect(typesNamed(target)).toEqual(named);
    expect(targetText(target)).toBe(text);
    expect(patternsOf(target).join(', ')).toBe(text);
  });
});
