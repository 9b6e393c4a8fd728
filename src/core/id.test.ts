import { beforeEach, describe, expect, it, vi } from 'vitest';

let uuidv7: (nowMs: number) => string;

beforeEach(async () => {
  // A fresh module: the counter and the last millisecond are its own.
  vi.resetModules();
  ({ uuidv7 } = await import('./id.ts'));
});

const LAYOUT = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const msOf = (id: string): number => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);

describe('uuidv7', () => {
  it('has the layout of RFC 9562, section 5.7', () => {
    // The moment of the RFC's own example, appendix A.6.
    const id = uuidv7(0x017f22e279b0);
    expect(id).toMatch(/^017f22e2-79b0-7/);
    expect(id).toMatch(LAYOUT);
  });

  it('rises strictly, and a million are unique', () => {
    const ids = new Set<string>();
    let last = '';
    let fallen = 0;
    for (let index = 0; index < 1_000_000; index++) {
      const id = uuidv7(Date.now());
      if (!(id > last)) fallen++;
      last = id;
      ids.add(id);
    }
    expect(fallen).toBe(0);
    expect(ids.size).toBe(1_000_000);
    expect(last).toMatch(LAYOUT);
  });

  it('rises when the clock stands still or goes back', () => {
    const ids = Array.from({ length: 10_000 }, (_, index) => uuidv7(1_700_000_000_000 - (index % 3) * 1000));
    expect(ids).toEqual(ids.toSorted());
    expect(new Set(ids).size).toBe(ids.length);
    // 4096 to a millisecond; then the next ones are borrowed.
    expect(msOf(ids.at(-1) as string)).toBe(1_700_000_000_002);
    expect(msOf(uuidv7(1_700_000_000_100))).toBe(1_700_000_000_100);
  });

  it('keeps the layout when a fake clock starts at 0, before it, or tells fractions', () => {
    const ids = [-5, 0, 0.5, 1.25, 1.75].map((nowMs) => uuidv7(nowMs));
    for (const id of ids) expect(id).toMatch(LAYOUT);
    expect(ids).toEqual(ids.toSorted());
    expect(ids.map(msOf)).toEqual([0, 0, 0, 1, 1]);
  });

  it('spreads the random bits', () => {
    const ones = Array.from({ length: 62 }, () => 0);
    for (let index = 0; index < 2000; index++) {
      const id = uuidv7(0).replaceAll('-', '');
      const bits = (BigInt(`0x${id.slice(16)}`) & (2n ** 62n - 1n)).toString(2).padStart(62, '0');
      for (let bit = 0; bit < 62; bit++) ones[bit] = (ones[bit] as number) + Number(bits[bit]);
    }
    // Ten standard deviations from the mean.
    for (const count of ones) expect(Math.abs(count - 1000)).toBeLessThan(224);
  });
});
