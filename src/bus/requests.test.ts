import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defaultLimits, defineEvent, type RequestOptions } from '../core/index.ts';
import { fakeClock } from '../testing/index.ts';
import { checkedAnswer, Requests } from './requests.ts';

const Ask = defineEvent('question.asked', { response: z.object({ n: z.coerce.number() }) });

function asked(responders: readonly string[] = ['a', 'b'], options: RequestOptions = {}, limits = {}) {
  const clock = fakeClock();
  const requests = new Requests(clock, { ...defaultLimits, ...limits });
  const event = Ask(undefined);
  const wait = (): Promise<unknown> => requests.wait(event, responders, options);
  const outcome: { value?: unknown; error?: unknown } = {};
  const answer = wait().then(
    (value) => void (outcome.value = value),
    (error: unknown) => void (outcome.error = error),
  );
  return { clock, requests, event, outcome, answer, wait };
}

describe('a request', () => {
  it('has the first answer, whoever gives it', async () => {
    const { requests, event, outcome, answer, clock } = asked();
    requests.answered(event, 'b', { value: 1 });
    requests.answered(event, 'a', { value: 2 });
    await answer;
    expect([outcome, requests.waiting.size, clock.timers]).toEqual([{ value: 1 }, 0, 0]);
  });

  it('waits on when one of two has nothing to say, and has undefined when none has', async () => {
    const { requests, event, outcome, answer } = asked();
    requests.answered(event, 'a', { value: undefined });
    requests.answered(event, 'a', { value: 'twice the same does not count' });
    expect(requests.waiting.size).toBe(1);
    requests.answered(event, 'b', { value: undefined });
    await answer;
    expect(outcome).toEqual({ value: undefined });
    expect('value' in outcome).toBe(true);
  });

  it('takes no answer from who was not asked', () => {
    const { requests, event } = asked();
    requests.answered(event, 'stranger', { value: 1 });
    requests.answered(event, 'stranger', { error: new Error('x') });
    expect(requests.waiting.size).toBe(1);
  });

  it('takes no answer to another event', () => {
    const { requests } = asked();
    requests.answered(Ask(undefined), 'a', { value: 1 });
    expect(requests.waiting.size).toBe(1);
  });

  it('fails once none is left to answer, with the first failure', async () => {
    const { requests, event, outcome, answer } = asked();
    const cause = new Error('no luck');
    requests.answered(event, 'a', { error: cause });
    expect(requests.waiting.size).toBe(1);
    requests.answered(event, 'b', { error: new Error('later') });
    await answer;
    expect(outcome.error).toMatchObject({
      code: 'CARILLON_REQUEST_FAILED',
      details: { subscription: 'a', type: 'question.asked' },
      cause,
    });
  });

  it.each([
    ['an answer', 5, { value: 5 }],
    ['none', undefined, { error: expect.objectContaining({ code: 'CARILLON_REQUEST_FAILED' }) }],
  ])('of which one failed has from the other %s', async (_what, value, expected) => {
    const { requests, event, outcome, answer } = asked();
    requests.answered(event, 'a', { error: new Error('no luck') });
    requests.answered(event, 'b', { value });
    await answer;
    expect(outcome).toEqual(expected);
  });

  it('times out after the time given, 30 seconds by default', async () => {
    for (const [options, ms] of [
      [{ timeoutMs: 50 }, 50],
      [{}, 30_000],
    ] as const) {
      const { requests, outcome, answer, clock } = asked(['a'], options);
      await clock.advance(ms - 1);
      expect(outcome).toEqual({});
      await clock.advance(1);
      await answer;
      expect(outcome.error).toMatchObject({ code: 'CARILLON_REQUEST_TIMEOUT', details: { timeoutMs: ms } });
      expect(requests.waiting.size).toBe(0);
    }
  });

  it('fails when its signal aborts, with the reason', async () => {
    const controller = new AbortController();
    const { outcome, answer, clock } = asked(['a'], { signal: controller.signal });
    const reason = new Error('the user left');
    controller.abort(reason);
    await answer;
    expect([outcome.error, clock.timers]).toEqual([reason, 0]);
  });

  it('fails at once when its signal has aborted before, whatever the reason', async () => {
    const { outcome, answer } = asked(['a'], { signal: AbortSignal.abort('a text') });
    await answer;
    expect(outcome.error).toMatchObject({ code: 'CARILLON_REQUEST_TIMEOUT', cause: 'a text' });
  });

  it.each([
    ['resolved', { value: 'of a sync handler' }],
    ['rejected', { error: new Error('not published') }],
  ] as const)('%s by the bus lets go of clock and signal', async (_what, expected) => {
    const controller = new AbortController();
    const { requests, event, outcome, answer, clock } = asked(['a'], { signal: controller.signal });
    if ('error' in expected) requests.reject(event, expected.error);
    else requests.resolve(event, expected.value);
    requests.resolve(event, 'too late');
    requests.reject(event, new Error('too late'));
    controller.abort();
    await answer;
    expect([outcome, requests.waiting.size, clock.timers]).toEqual([expected, 0, 0]);
  });

  it('is refused beyond the limit, and while the same event waits', () => {
    const { requests, wait } = asked(['a'], {}, { requestsPendingMax: 2 });
    expect(wait).toThrow(expect.objectContaining({ code: 'CARILLON_OPTION_INVALID' }));
    void requests.wait(Ask(undefined), ['a'], {});
    expect(() => requests.wait(Ask(undefined), ['a'], {})).toThrow(
      expect.objectContaining({ code: 'CARILLON_OVERLOADED', details: { limit: 'requestsPendingMax' } }),
    );
  });

  it('fails with all others when the bus ends', async () => {
    const { requests, outcome, answer } = asked();
    const error = new Error('the bus stops');
    requests.failAll(error);
    await answer;
    expect([outcome.error, requests.waiting.size]).toEqual([error, 0]);
  });
});

describe('checkedAnswer', () => {
  it('is what the response schema lets through', () => {
    expect(checkedAnswer(Ask, { n: '5' })).toEqual({ n: 5 });
    expect(() => checkedAnswer(Ask, { n: 'many' })).toThrow(expect.objectContaining({ code: 'CARILLON_DATA_INVALID' }));
  });

  it('is anything where there is no schema', () => {
    expect([checkedAnswer(undefined, 'x'), checkedAnswer(defineEvent('x'), 7)]).toEqual(['x', 7]);
  });
});
