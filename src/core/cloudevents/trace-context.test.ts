import { describe, expect, it } from 'vitest';
import { isTraceparent, isTracestate } from './trace-context.ts';

const trace = '0af7651916cd43dd8448eb211c80319c';
const span = 'b7ad6b7169203331';

describe('W3C Trace Context', () => {
  it.each([
    `00-${trace}-${span}-01`,
    `00-${trace}-${span}-ff`,
    `cc-${trace}-${span}-01`,
    `cc-${trace}-${span}-01-later`,
  ])('traceparent %s', (text) => {
    expect(isTraceparent(text)).toBe(true);
  });

  it.each([
    '',
    `ff-${trace}-${span}-01`,
    `00-${trace}-${span}-01-later`,
    `00-${trace}-${span}-01x`,
    `cc-${trace}-${span}-01x`,
    `00-${trace}-${span}`,
    `00-${'0'.repeat(32)}-${span}-01`,
    `00-${trace}-${'0'.repeat(16)}-01`,
    `00-${trace.toUpperCase()}-${span}-01`,
    ` 00-${trace}-${span}-01`,
  ])('no traceparent %j', (text) => {
    expect(isTraceparent(text)).toBe(false);
  });

  it.each([
    '',
    'congo=t61rcWkgMzE',
    'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE',
    'a=1, ,b=2',
    'tenant@vendor=x y',
    '0a=!',
  ])('tracestate %j', (text) => {
    expect(isTracestate(text)).toBe(true);
  });

  it.each(['a', 'a=', 'A=1', '=1', 'a=1,a=2', 'a=b=c', 'a=ü', `a=${'x'.repeat(257)}`, `${'a'.repeat(257)}=1`])(
    'no tracestate %j',
    (text) => {
      expect(isTracestate(text)).toBe(false);
    },
  );

  it('has 32 members at most', () => {
    const members = Array.from({ length: 33 }, (_, index) => `k${index}=v`);
    expect(isTracestate(members.slice(1).join(','))).toBe(true);
    expect(isTracestate(members.join(','))).toBe(false);
  });
});
