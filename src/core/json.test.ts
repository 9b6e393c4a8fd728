import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isCarillonError } from './errors.ts';
import { copyJson } from './json.ts';

const refused = (path: string): object =>
  expect.objectContaining({ code: 'CARILLON_DATA_NOT_JSON', details: { path } }) as object;

class Point {
  readonly x = 1;
}

function thrownBy(run: () => unknown): unknown {
  try {
    run();
    return undefined;
  } catch (thrown) {
    return thrown;
  }
}

describe('copyJson', () => {
  it('gives what JSON would give', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 10 }), (value) => {
        expect(copyJson(value, 64)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('lets through only what comes back from JSON, and as it comes back', () => {
    fc.assert(
      fc.property(fc.anything({ withDate: true, withMap: true, withBigInt: true, withTypedArray: true }), (value) => {
        let copy: unknown;
        const thrown = thrownBy(() => {
          copy = copyJson(value, 64);
        });
        expect(thrown === undefined || isCarillonError(thrown, 'CARILLON_DATA_NOT_JSON')).toBe(true);
        const back = thrown === undefined ? (JSON.parse(JSON.stringify(value)) as unknown) : undefined;
        expect(copy).toEqual(back);
      }),
    );
  });

  it('shares nothing with the original', () => {
    const original = { list: [{ n: 1 }], __proto__: null };
    const copy = copyJson(original, 64) as { list: { n: number }[] };
    (original.list[0] as { n: number }).n = 2;
    expect(copy.list).toEqual([{ n: 1 }]);
    expect(Object.hasOwn(copyJson(JSON.parse('{"__proto__":{"x":1}}'), 4) as object, '__proto__')).toBe(true);
  });

  it.each([
    [undefined, 'data'],
    [Number.NaN, 'data'],
    [Number.POSITIVE_INFINITY, 'data'],
    [1n, 'data'],
    [Symbol('x'), 'data'],
    [() => 1, 'data'],
    [new Date(0), 'data'],
    [new Map(), 'data'],
    [new Uint8Array(1), 'data'],
    [new Point(), 'data'],
    [new String('x'), 'data'],
    [Promise.resolve(1), 'data'],
    [{ a: [1, 'x', { b: Number.NaN }] }, 'data.a[2].b'],
    [[1, 2, undefined], 'data[2]'],
    [{ toJSON: () => 1 }, 'data.toJSON'],
    [{ constructor: () => 1 }, 'data.constructor'],
  ])('refuses %s and names the path', (value, path) => {
    expect(() => copyJson(value, 64)).toThrow(refused(path));
  });

  it('takes dictionaries of other realms and without a prototype, undefined members and hostile names', () => {
    const bare = Object.assign(Object.create(null) as object, { a: 1, b: undefined });
    expect(() => copyJson(bare, 2)).not.toThrow();
    expect(() => copyJson(JSON.parse('{"__proto__":{"x":1},"constructor":1}'), 2)).not.toThrow();
    expect(() => copyJson({ __proto__: { inherited: 1 } }, 2)).toThrow(refused('data'));
  });

  it('bounds the depth, and so ends on a circle', () => {
    const circle: unknown[] = [];
    circle.push(circle);
    expect(() => copyJson(circle, 64)).toThrow(/nests deeper than limits.jsonDepthMax/);
    expect(() => copyJson([[1]], 2)).not.toThrow();
    expect(() => copyJson([[{}]], 2)).toThrow(refused('data[0][0]'));
    expect(() => copyJson('x', 0)).not.toThrow();
  });
});
