import { carillonError, timestampMs } from '../core/index.ts';

/** The query parameters of a request, each at most once and none unknown. Every failure names the parameter. */
export interface Parameters {
  text(name: string): string | undefined;
  /** A whole number from `min` to `max`. */
  whole(name: string, bounds?: Bounds): number | undefined;
  /** A moment: RFC 3339, or ms since the Unix epoch. As ms. */
  moment(name: string): number | undefined;
}

/** Reads what follows the `?`. Fails with `CARILLON_OPTION_INVALID`. */
export function parseParameters(url: string, known: readonly string[]): Parameters {
  const mark = url.indexOf('?');
  const values = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1))) {
    if (!known.includes(name)) {
      const names = known.length === 0 ? 'none' : known.join(', ');
      throw badParameter(name, `there is no parameter ${JSON.stringify(name)} here; there is: ${names}`);
    }
    if (values.has(name)) throw badParameter(name, `the parameter ${name} was given twice`);
    if (value === '') throw badParameter(name, `the parameter ${name} is empty`);
    values.set(name, value);
  }
  return {
    text: (name) => values.get(name),
    whole: (name, bounds) => {
      const value = values.get(name);
      return value === undefined ? undefined : parseWhole(name, value, bounds);
    },
    moment: (name) => {
      const value = values.get(name);
      return value === undefined ? undefined : parseMoment(name, value);
    },
  };
}

interface Bounds {
  readonly min?: number;
  readonly max?: number;
}

export function parseWhole(name: string, text: string, bounds: Bounds = {}): number {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = bounds;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`;
    throw badParameter(name, `${name} must be a whole number ${range}, not ${JSON.stringify(text)}`);
  }
  return value;
}

function parseMoment(name: string, text: string): number {
  if (/^\d{1,16}$/.test(text)) return parseWhole(name, text);
  // A "+" that was not encoded arrives as a space.
  const ms = timestampMs(text.replace(' ', '+'));
  if (ms === undefined) {
    throw badParameter(name, `${name} must be an RFC 3339 time or ms since 1970, not ${JSON.stringify(text)}`);
  }
  return ms;
}

export function badParameter(name: string, message: string): Error {
  return carillonError('CARILLON_OPTION_INVALID', message, { parameter: name });
}
