import { createHash } from 'node:crypto';
import { parts } from './plan.mjs';
import { mixed } from './random.mjs';

/**
 * An event in short: `{ id, type, key, lot, life, scale }`. Everything else about it follows from these, so that an
 * event whose publish may or may not have gone through can be made again, equal to the last byte.
 */
export function dataOf({ lot, life, scale, cause }) {
  const pad = String(lot).repeat(((lot % 97) + 1) * scale);
  return { lot, life, pad, ...(cause === undefined ? {} : { cause }) };
}

export const partOf = ({ lot }) => parts[mixed(lot, 1000) % parts.length];

export function hashOf(data) {
  return createHash('sha1').update(JSON.stringify(data)).digest('base64url').slice(0, 16);
}

export function attributesOf({ id, key, ...rest }) {
  return { id, source: '/crash', subject: key, part: partOf(rest) };
}
