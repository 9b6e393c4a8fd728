import { carillonError } from './errors.ts';

/** A value JSON can say. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** Whether an object is a mere dictionary, of this realm or another: not an instance of a class. */
export function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null;
}

function refuse(path: string, what: string): never {
  throw carillonError('CARILLON_DATA_NOT_JSON', `${path} is ${what}, which JSON cannot say`, { path });
}

function nameOf(value: object): string {
  const name: unknown = (value.constructor as { name?: unknown } | undefined)?.name;
  return typeof name === 'string' && name !== '' ? `a ${name}` : 'an object of a class';
}

/**
 * A copy of `value`, made while making sure that it comes back from JSON as it went in, so that a handler sees the same
 * data whether its event came from memory or from the log (G15). Members of objects that are `undefined` are left out,
 * as JSON does. Nothing of the copy is shared with `value`: who changes that later does not change the event.
 * Fails with `CARILLON_DATA_NOT_JSON`, naming the path.
 */
export function copyJson(value: unknown, depthMax: number, path = 'data'): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      if (!Number.isFinite(value)) refuse(path, String(value));
      // JSON knows no negative zero.
      return value === 0 ? 0 : value;
    case 'object':
      if (value === null) return null;
      if (depthMax === 0) {
        throw carillonError('CARILLON_DATA_NOT_JSON', `${path} nests deeper than limits.jsonDepthMax`, { path });
      }
      return Array.isArray(value) ? copyArray(value, depthMax, path) : copyObject(value, depthMax, path);
    default:
      return refuse(path, typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`);
  }
}

/** What needs no copy, and cannot fail. Zero is looked at again, for its sign. */
const isPlainJson = (value: unknown): boolean =>
  typeof value === 'string' || typeof value === 'boolean' || (Number.isFinite(value) && value !== 0);

function copyArray(value: readonly unknown[], depthMax: number, path: string): unknown[] {
  const copy: unknown[] = [];
  for (let index = 0; index < value.length; index++) {
    const item = value[index];
    // The path is made only for what may fail below: most items are plain strings and numbers.
    copy.push(isPlainJson(item) ? item : copyJson(item, depthMax - 1, `${path}[${index}]`));
  }
  return copy;
}

function copyObject(value: object, depthMax: number, path: string): Record<string, unknown> {
  if (!isPlainObject(value)) refuse(path, nameOf(value));
  const copy: Record<string, unknown> = {};
  for (const name in value) {
    const member = (value as Record<string, unknown>)[name];
    if (member === undefined) continue;
    const copied = isPlainJson(member) ? member : copyJson(member, depthMax - 1, `${path}.${name}`);
    if (name === '__proto__') defineMember(copy, name, copied);
    else copy[name] = copied;
  }
  return copy;
}

/** Assigning to `__proto__` would change what the object is. */
function defineMember(object: object, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
}
