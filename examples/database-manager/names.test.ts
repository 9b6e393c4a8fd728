import { describe, expect, it } from 'vitest';
import { nameProblem, protectionOf, WORKING_PREFIX, workingName } from './names.ts';

describe('nameProblem', () => {
  it.each([
    ['shop', null],
    ['a"; DROP DATABASE x; --', null],
    ["o'neill \\ $1 %I {}", null],
    ['数据库', null],
    ['🛎'.repeat(15), null],
    ['x'.repeat(63), null],
    ['', 'is empty'],
    ['a\0b', 'holds a NUL'],
    ['a\nb', 'holds a control character'],
    ['a\u0085b', 'holds a control character'],
    ['a\ud800b', 'holds half of a surrogate pair'],
    ['a\uffff', 'holds a noncharacter of Unicode'],
    ['x'.repeat(64), 'has 64 bytes in UTF-8, and PostgreSQL keeps 63'],
    ['🛎'.repeat(16), 'has 64 bytes in UTF-8, and PostgreSQL keeps 63'],
  ])('%j: %s', (name, problem) => {
    expect(nameProblem(name)).toBe(problem);
  });
});

describe('protectionOf', () => {
  it.each(['postgres', 'template0', 'template1', 'rdsadmin', 'own', `${WORKING_PREFIX}1`])('protects %s', (name) => {
    expect(protectionOf(name, ['own'])).toContain(name.startsWith(WORKING_PREFIX) ? WORKING_PREFIX : name);
  });

  it('lets others be, also those that differ by case only: they are others', () => {
    for (const name of ['shop', 'Postgres', 'postgres ', 'own2']) expect(protectionOf(name, ['own'])).toBeNull();
  });
});

describe('workingName', () => {
  it('is the same for the same event, another for any other, and can be a name', () => {
    const name = workingName('m', '/a', '1');
    expect(workingName('m', '/a', '1')).toBe(name);
    const others = [
      workingName('m', '/a', '2'),
      workingName('m', '/b', '1'),
      workingName('m', '/a1', ''),
      workingName('n', '/a', '1'),
    ];
    expect(new Set([name, ...others]).size).toBe(5);
    expect(nameProblem(name)).toBeNull();
    expect(protectionOf(name, [])).not.toBeNull();
  });
});
