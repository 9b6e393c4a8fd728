import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defineEvent, makeEvent } from '../../core/index.ts';
import { lsnText, parseLsn } from './lsn.ts';
import { changeType, nameToken, rowSubject, tableSubject } from './names.ts';

describe('names in attributes', () => {
  it.each([
    ['orders', 'orders'],
    ['Größe_2', 'Größe_2'],
    ['my table;', 'my%20table%3B'],
    ['a.b', 'a%2Eb'],
    ['%2E', '%252E'],
    ['"*>', '%22%2A%3E'],
    ['\u200b', '%E2%80%8B'],
  ])('%j is %s', (name, token) => {
    expect(nameToken(name)).toBe(token);
  });

  it('make types and subjects of whatever a name may hold, each its own', () => {
    const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((text) => !text.includes('\0'));
    fc.assert(
      fc.property(
        name,
        name,
        name,
        fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1, maxLength: 3 }),
        (a, b, c, key) => {
          const type = changeType(a, b, c, 'created');
          defineEvent(type);
          const subject = rowSubject(tableSubject(b, c), key);
          makeEvent({ specversion: '1.0', id: '1', source: '/s', type, subject }, null);
          expect(type.split('.').map(decodeURIComponent)).toEqual([a, b, c, 'created']);
          expect(subject.split('/').slice(1).map(decodeURIComponent)).toEqual(key);
        },
      ),
    );
  });
});

describe('places in the log', () => {
  it('are read and written as PostgreSQL does', () => {
    expect(parseLsn('16/B374D848')).toBe(0x16b374d848n);
    expect(lsnText(0x16b374d848n)).toBe('16/B374D848');
    expect(lsnText(0n)).toBe('0/0');
    expect(() => parseLsn('16B374D848')).toThrow(expect.objectContaining({ code: 'CARILLON_CHANGES_PROTOCOL' }));
  });
});
