/**
 * What a column's value is in JSON, by its type alone, so that a column never changes from one to the other:
 * `smallint`, `integer`, `oid`, `real` and `double precision` are numbers (`NaN` and the infinities are text, since JSON
 * has none), `boolean` is true or false, `json` and `jsonb` are what they say, and everything else is the text that
 * PostgreSQL shows: `bigint` and `numeric` too, whose digits a JavaScript number would lose.
 */
export type Conversion = 'integer' | 'float' | 'boolean' | 'json' | 'text';

/** By the numbers of PostgreSQL's built-in types (pg_type.dat); they never change. */
const conversions: ReadonlyMap<number, Conversion> = new Map([
  [16, 'boolean'],
  [21, 'integer'],
  [23, 'integer'],
  [26, 'integer'],
  [114, 'json'],
  [700, 'float'],
  [701, 'float'],
  [3802, 'json'],
]);

export function conversionOf(typeOid: number): Conversion {
  return conversions.get(typeOid) ?? 'text';
}

export function convert(conversion: Conversion, text: string): unknown {
  switch (conversion) {
    case 'integer':
      return Number(text);
    case 'float': {
      const number = Number(text);
      return Number.isFinite(number) ? number : text;
    }
    case 'boolean':
      return text === 't';
    case 'json':
      return JSON.parse(text) as unknown;
    case 'text':
      return text;
  }
}

/** Settings that fix how values are shown, for the stream and the snapshot alike. */
export const SHOWN_AS =
  "SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET extra_float_digits = 1; SET bytea_output = 'hex'";
