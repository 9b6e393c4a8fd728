import { deflateSync } from 'node:zlib';
import { HypervisorError } from './hypervisor-error.ts';

/** A screen, as a PNG. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly png: Uint8Array;
}

const SIDE_MAX = 4096;
const HEADER = /^P6\s(\d{1,5})\s(\d{1,5})\s255\s/;
/** The header is shorter than this whatever the numbers are. */
const HEADER_BYTES_MAX = 32;

/** The largest PPM that {@link pictureOf} would look at. */
export const PPM_BYTES_MAX: number = SIDE_MAX * SIDE_MAX * 3 + HEADER_BYTES_MAX;

/** From a binary PPM, which every QEMU writes. It comes from the machine, so nothing about it is believed. */
export function pictureOf(ppm: Buffer): Picture {
  const found = HEADER.exec(ppm.subarray(0, HEADER_BYTES_MAX).toString('latin1'));
  const [header = '', widthText, heightText] = found ?? [];
  const width = Number(widthText);
  const height = Number(heightText);
  const sides = width > 0 && height > 0 && width <= SIDE_MAX && height <= SIDE_MAX;
  if (!sides || ppm.length !== header.length + width * height * 3) {
    throw new HypervisorError('refused', 'the screenshot is no picture');
  }
  return { width, height, png: pngOf(width, height, ppm.subarray(header.length)) };
}

/** A PNG of 8-bit RGB: signature, IHDR, IDAT, IEND (W3C PNG, third edition). */
function pngOf(width: number, height: number, rgb: Buffer): Uint8Array {
  const stride = width * 3;
  // Each line is led by its filter; 0 is none.
  const lines = Buffer.alloc((stride + 1) * height);
  for (let y = 0; y < height; y++) rgb.copy(lines, y * (stride + 1) + 1, y * stride, (y + 1) * stride);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(lines)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const framed = Buffer.alloc(body.length + 8);
  framed.writeUInt32BE(data.length, 0);
  body.copy(framed, 4);
  framed.writeUInt32BE(crc32(body), body.length + 4);
  return framed;
}

/** CRC-32 as PNG wants it; node:zlib has one only from Node 22 on. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
