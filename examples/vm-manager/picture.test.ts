import { inflateSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { pictureOf } from './picture.ts';

const ppm = (header: string, bytes: number[]): Buffer => Buffer.concat([Buffer.from(header), Buffer.from(bytes)]);

it('makes a PNG of a PPM', () => {
  const { width, height, png } = pictureOf(ppm('P6\n2 1\n255\n', [1, 2, 3, 4, 5, 6]));
  expect([width, height]).toEqual([2, 1]);
  const file = Buffer.from(png);
  expect(file.subarray(0, 8).toString('hex')).toBe('89504e470d0a1a0a');
  // IHDR with its checksum as any other tool writes it, then the pixels behind a filter byte, then the end.
  expect(file.subarray(8, 33).toString('hex')).toBe('0000000d4948445200000002000000010802000000' + '7b40e8dd');
  const idat = file.indexOf('IDAT');
  const length = file.readUInt32BE(idat - 4);
  expect([...inflateSync(file.subarray(idat + 4, idat + 4 + length))]).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(file.subarray(-12).toString('hex')).toBe('0000000049454e44ae426082');
});

it.each([
  ['nothing', ''],
  ['another format', 'P5\n1 1\n255\nxxx'],
  ['no size', 'P6\n0 1\n255\n'],
  ['more than it holds', 'P6\n2 2\n255\nxxx'],
  ['less than it holds', 'P6\n1 1\n255\nxxxx'],
  ['a size beyond all screens', 'P6\n99999 99999\n255\n'],
])('refuses %s', (_what, text) => {
  expect(() => pictureOf(Buffer.from(text))).toThrow('no picture');
});
