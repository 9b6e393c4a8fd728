import { describe, expect, it } from 'vitest';
import { fakeClock } from '../testing/index.ts';
import { Pace } from './pace.ts';

describe('Pace', () => {
  it('starts with what can run at once', () => {
    expect(new Pace(fakeClock(), 16, 2048).ahead()).toBe(16);
  });

  it('grows fourfold when deliveries waited although all counted had ended, up to a bound', () => {
    const pace = new Pace(fakeClock(), 16, 100);
    const grown = Array.from({ length: 4 }, () => {
      pace.ended(pace.ahead());
      return pace.aheadWhenWaiting();
    });
    expect(grown).toEqual([64, 256, 400, 400]);
  });

  it('does not grow while counted ones are still to end', () => {
    const pace = new Pace(fakeClock(), 16, 100);
    pace.ended(15);
    expect(pace.aheadWhenWaiting()).toBe(16);
    // What ended before the last count does not count again.
    pace.ended(1);
    expect(pace.aheadWhenWaiting()).toBe(16);
  });

  it('falls back to what ended within the last quarter of a second', async () => {
    const clock = fakeClock();
    const pace = new Pace(clock, 16, 100);
    pace.ended(16);
    pace.aheadWhenWaiting();
    pace.ended(64);
    expect(pace.aheadWhenWaiting()).toBe(256);
    await clock.advance(249);
    expect(pace.ahead()).toBe(256);
    await clock.advance(1);
    expect(pace.ahead()).toBe(80);
    await clock.advance(250);
    expect(pace.ahead()).toBe(16);
  });

  it('never allows fewer than can run at once, however little memory there is', () => {
    const pace = new Pace(fakeClock(), 16, 1);
    pace.ended(16);
    expect([pace.aheadWhenWaiting(), pace.most]).toEqual([16, 16]);
  });
});
