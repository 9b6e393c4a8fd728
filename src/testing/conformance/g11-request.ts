import { defineEvent, defineModule, noRetry, fixed, type Module, type Schema } from '../../core/index.ts';
import { holds, refused, same } from './check.ts';
import { conformanceCase, fail, forever, happened, type ConformanceCase } from './kit.ts';
import { refusesOthers } from './refusals.ts';

/** A schema that lets through objects whose `value` is a number, and makes it a whole one. */
const whole: Schema<unknown, { value: number }> = {
  '~standard': {
    version: 1,
    vendor: 'suite',
    validate: (given) => {
      const value = (given as { value?: unknown } | null)?.value;
      return typeof value === 'number'
        ? { value: { value: Math.round(value) } }
        : { issues: [{ message: 'no number' }] };
    },
  },
};

const Ask = defineEvent('thing.asked', { response: whole });

const answering = (answer: () => unknown, options: object = {}): Module =>
  defineModule('suite', (m) => m.handle('thing.asked', answer, { name: 'h', retry: noRetry(), ...options }));

/** G11: `request` resolves with the handler's typed response, or fails on time-out or with the handler's error. */
export const g11: readonly ConformanceCase[] = [
  conformanceCase('G11-1', 'it resolves with what the handler returned, and the event is in the log', async (kit) => {
    await kit.start([defineModule('suite', (m) => m.handle(Ask, () => ({ value: 41.9 }), { name: 'h' }))]);
    same(await kit.bus.request(Ask('q')), { value: 42 }, 'the answer, as the response schema lets it through');
    same(
      (await kit.log()).map(({ type }) => type),
      ['thing.asked'],
      'the log',
    );
  }),

  conformanceCase('G11-2', 'an answer that the response schema refuses fails the request', async (kit) => {
    await kit.start([answering(() => ({ value: 'text' })), defineModule('events', (m) => m.events(Ask))]);
    await refused('CARILLON_DATA_INVALID', () => kit.bus.request(Ask('q')), 'the request');
  }),

  conformanceCase(
    'G11-3',
    "it fails with the handler's error once the delivery is dead, after its retries",
    async (kit) => {
      let attempts = 0;
      const failing = (): never => {
        attempts++;
        return fail('no idea');
      };
      await kit.start([answering(failing, { retry: fixed({ delayMs: 1000, attemptsMax: 2 }) })]);
      const asking = kit.bus.request(happened('q', { type: 'thing.asked' }));
      asking.catch(() => undefined);
      await kit.advance(1000);
      const error = await refused('CARILLON_REQUEST_FAILED', () => asking, 'the request');
      same([(error.cause as Error).message, attempts], ['no idea', 2], 'the cause, and attempts');
    },
  ),

  conformanceCase('G11-4', 'a retry that succeeds answers', async (kit) => {
    let attempts = 0;
    const second = (): unknown => (++attempts === 1 ? fail() : 'at last');
    await kit.start([answering(second, { retry: fixed({ delayMs: 1000 }) })]);
    const asking = kit.bus.request(happened('q', { type: 'thing.asked' }));
    await kit.advance(1000);
    same(await asking, 'at last', 'the answer');
  }),

  conformanceCase('G11-5', 'it fails when the time is up; the event is handled all the same', async (kit) => {
    let handled = 0;
    let end: () => void = () => undefined;
    await kit.start([
      answering(async () => {
        await new Promise<void>((resolve) => {
          end = resolve;
        });
        handled++;
      }),
    ]);
    const asking = kit.bus.request(happened('q', { type: 'thing.asked' }), { timeoutMs: 500 });
    asking.catch(() => undefined);
    await kit.advance(500);
    const error = await refused('CARILLON_REQUEST_TIMEOUT', () => asking, 'the request');
    holds(error.retryable, 'it may be repeated');
    end();
    await kit.until(() => handled === 1, 'the handling');
  }),

  conformanceCase(
    'G11-6',
    'with nobody to answer it fails at once and stores nothing; a pattern is no responder',
    async (kit) => {
      await kit.start([defineModule('suite', (m) => m.handle('thing.*', () => 'overheard', { name: 'h' }))]);
      const error = await refused('CARILLON_NO_RESPONDER', () => kit.bus.request(happened('q')), 'the request');
      holds(error.retryable, 'it may be repeated');
      same(await kit.log(), [], 'the log');
    },
  ),

  conformanceCase(
    'G11-7',
    'the first of several handlers to say something answers; undefined is no answer while others may',
    async (kit) => {
      await kit.start([
        defineModule('suite', (m) => {
          m.handle('thing.asked', () => undefined, { name: 'silent' });
          m.handle('thing.asked', () => fail(), { name: 'failing', retry: noRetry() });
          m.handle(
            'thing.asked',
            async () => {
              await new Promise<void>((resolve) => kit.clock.setTimer(100, resolve));
              return 'slow';
            },
            { name: 'slow' },
          );
        }),
      ]);
      const asking = kit.bus.request(happened('q', { type: 'thing.asked' }));
      await kit.advance(100);
      same(await asking, 'slow', 'the answer');
    },
  ),

  conformanceCase('G11-8', 'a sync handler may answer, before anything is handled', async (kit) => {
    await kit.start([
      defineModule('suite', (m) => {
        m.handleSync('thing.asked', () => 'at once', { name: 'sync' });
        m.handle('thing.asked', forever, { name: 'h' });
      }),
    ]);
    same(await kit.bus.request(happened('q', { type: 'thing.asked' })), 'at once', 'the answer');
    same((await kit.log()).length, 1, 'stored');
  }),

  conformanceCase('G11-9', 'an aborted request fails with the reason, a stopped bus with its own', async (kit) => {
    await kit.start([answering(forever)]);
    const ending = new AbortController();
    const aborted = kit.bus.request(happened('q1', { type: 'thing.asked' }), { signal: ending.signal });
    const outlived = kit.bus.request(happened('q2', { type: 'thing.asked' }), { timeoutMs: 1_000_000 });
    const outcomes = Promise.allSettled([aborted, outlived]);
    await kit.settle();
    ending.abort(new Error('never mind'));
    await kit.stop({ deadlineMs: 10 }).catch(() => undefined);
    const [first, second] = await outcomes;
    same((first as PromiseRejectedResult).reason.message, 'never mind', 'the aborted one');
    same((second as PromiseRejectedResult).reason.code, 'CARILLON_STOPPED', 'the one that outlived the bus');
  }),

  conformanceCase('G11-10', 'requests that wait have a bound', async (kit) => {
    await kit.start([answering(forever)], { limits: { requestsPendingMax: 2 } });
    const asking = ['q1', 'q2'].map((id) => kit.bus.request(happened(id, { type: 'thing.asked' }), { timeoutMs: 100 }));
    for (const one of asking) one.catch(() => undefined);
    const error = await refused(
      'CARILLON_OVERLOADED',
      () => kit.bus.request(happened('q3', { type: 'thing.asked' })),
      'a third',
    );
    same([error.retryable, error.details['limit']], [true, 'requestsPendingMax'], 'what it tells');
    await kit.advance(100);
    await Promise.allSettled(asking);
    const fourth = kit.bus.request(happened('q4', { type: 'thing.asked' }), { timeoutMs: 1 });
    fourth.catch(() => undefined);
    await kit.advance(1);
    await refused('CARILLON_REQUEST_TIMEOUT', () => fourth, 'one more, once there is room');
  }),

  conformanceCase(
    'G11-11',
    'a request repeated with the same event fails at once: its answer was not kept',
    async (kit) => {
      await kit.start([answering(() => 'once')]);
      same(await kit.bus.request(happened('q', { type: 'thing.asked' })), 'once', 'the first answer');
      await refused(
        'CARILLON_REQUEST_FAILED',
        () => kit.bus.request(happened('q', { type: 'thing.asked' })),
        'the second',
      );
    },
  ),

  conformanceCase(
    'G11-12',
    'asked in one process, it is answered by the handler of another, with a value or an error',
    async (kit) => {
      if (!kit.capabilities.shared) return refusesOthers(kit);
      let answer: () => unknown = () => ({ value: 1.4 });
      await kit.start();
      await refused('CARILLON_NO_RESPONDER', () => kit.bus.request(Ask('q')), 'a request that nobody answers yet');
      await kit.beside([answering(() => answer())]);
      same(await kit.bus.request(Ask('q')), { value: 1 }, 'the answer');
      answer = () => fail('no idea');
      const error = await refused('CARILLON_REQUEST_FAILED', () => kit.bus.request(Ask('q')), 'a request in vain');
      holds(error.message.includes('no idea'), 'it tells why');
      answer = () => ({ value: 2n });
      await refused('CARILLON_REQUEST_FAILED', () => kit.bus.request(Ask('q')), 'an answer that is no JSON');
    },
    'shared',
  ),
];
