import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Reserve } from './reserve.ts';

const BYTES = 200_000;
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'carillon-reserve-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('Reserve', () => {
  it('sets real bytes aside', () => {
    const path = join(directory, 'reserve');
    const reserve = new Reserve(path, BYTES);
    expect(reserve.kept).toBe(true);
    expect(statSync(path).size).toBe(BYTES);
    expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(BYTES);
    expect(reserve.restore()).toBe(true);
  });

  it('keeps a reserve that is there already', () => {
    const path = join(directory, 'reserve');
    writeFileSync(path, Buffer.alloc(BYTES, 7));
    expect(new Reserve(path, BYTES).kept).toBe(true);
    expect(readFileSync(path)[0]).toBe(7);
  });

  it('makes one of another size anew', () => {
    const path = join(directory, 'reserve');
    writeFileSync(path, 'too little');
    expect(new Reserve(path, BYTES).kept).toBe(true);
    expect(statSync(path).size).toBe(BYTES);
  });

  it('gives the space free when spent, and is not made again at once', () => {
    const path = join(directory, 'reserve');
    const reserve = new Reserve(path, BYTES);
    reserve.spend();
    expect([reserve.kept, existsSync(path)]).toEqual([false, false]);
    // The next try is far off, whatever the machine's clock does meanwhile.
    reserve.triedMs = Infinity;
    expect([reserve.restore(), existsSync(path)]).toEqual([false, false]);
  });

  it('spent already, is looked for as soon as if nobody had asked to spend it again', () => {
    const reserve = new Reserve(join(directory, 'reserve'), BYTES);
    reserve.spend();
    reserve.triedMs = 0;
    reserve.spend();
    expect([reserve.triedMs, reserve.restore()]).toEqual([0, true]);
  });

  it('is made again once there is room', () => {
    const path = join(directory, 'reserve');
    const reserve = new Reserve(path, BYTES);
    reserve.spend();
    reserve.triedMs = 0;
    expect([reserve.restore(), reserve.kept, statSync(path).size]).toEqual([true, true, BYTES]);
  });

  it('is not kept while it cannot be written', () => {
    const missing = join(directory, 'not-there');
    const path = join(missing, 'reserve');
    const reserve = new Reserve(path, BYTES);
    expect(reserve.kept).toBe(false);
    expect([reserve.restore(), existsSync(path)]).toEqual([false, false]);
    mkdirSync(missing);
    reserve.triedMs = 0;
    expect([reserve.restore(), statSync(path).size]).toEqual([true, BYTES]);
  });

  it('of no bytes is always kept, and no file', () => {
    const path = join(directory, 'reserve');
    const reserve = new Reserve(path, 0);
    reserve.spend();
    expect([reserve.kept, reserve.restore(), existsSync(path)]).toEqual([true, true, false]);
  });
});
