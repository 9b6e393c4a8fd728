import { describe, expect, it } from 'vitest';
import { check } from '../crash/checker.mjs';
import { plans } from '../crash/plan.mjs';

/** Hand-made histories of the crash harness, each with one thing wrong, and one with nothing wrong. */
interface Entry {
  readonly op: string;
  readonly [field: string]: unknown;
}

const SECOND_US = 1_000_000;
const only = (name: string) => plans.filter((plan) => plan.name === name);
const ordered = only('ordered');

/** An event whose lot lets every handler end well. */
const event = (id: string, key = 'k') => ({
  id,
  type: 'crash.work',
  key,
  part: 'h',
  lot: goodLot,
  life: 0,
  hash: `#${id}`,
  producer: 1,
});
const goodLot = 12;

let calls = 0;
const published = (id: string, position: number, life = 0): Entry[] => {
  const call = calls++;
  return [
    { op: 'invoke', call, events: [event(id)], batch: false, life },
    { op: 'ok', call, results: [{ position, duplicate: false, scheduledMs: null }], life },
  ];
};
const begin = (id: string, at: number, { life = 0, attempt = 1, hash = `#${id}`, sub = 'ordered' } = {}): Entry => ({
  op: 'begin',
  sub,
  id,
  at,
  attempt,
  hash,
  life,
});
const end = (id: string, { life = 0, ok = true, sub = 'ordered', t = 0 } = {}): Entry => ({
  op: 'end',
  sub,
  ids: [id],
  ok,
  life,
  t,
});
const handled = (id: string, at: number): Entry[] => [begin(id, at), end(id)];
const stored = (id: string, at: number): Entry => ({
  op: 'log',
  at,
  ms: 1,
  id,
  type: 'crash.work',
  key: 'k',
  part: 'h',
  hash: `#${id}`,
  life: 9,
});
const ready: Entry = { op: 'ready', life: 9 };
const strike = (life = 0, t = 5 * SECOND_US): Entry => ({ op: 'strike', life, t });

/** Two events published, handled and stored as they should be. */
const good: readonly Entry[] = [
  ...published('a', 1),
  ...published('b', 2),
  ...handled('a', 1),
  ...handled('b', 2),
  strike(),
  ready,
  stored('a', 1),
  stored('b', 2),
];

const none = { lost: 0, phantom: 0, inverted: 0, duplicatesBeyondInFlight: 0, broken: 0 };

function verdict(entries: readonly Entry[], of = ordered) {
  const { lost, phantom, inverted, duplicatesBeyondInFlight, broken, violations } = check(
    entries.map((entry) => ({ t: 0, ...entry })),
    of,
  );
  const rules = violations.map(({ rule }) => rule);
  return { counts: { lost, phantom, inverted, duplicatesBeyondInFlight, broken }, rules: [...new Set(rules)] };
}

describe('the checker of the crash harness', () => {
  it('finds nothing in a good history', () => {
    expect(verdict(good)).toEqual({ counts: none, rules: [] });
    expect(check([...good], ordered)).toMatchObject({ sent: 2, acked: 2, delivered: 2 });
  });

  it.each([
    ['an acknowledged event that is not stored', 'an acknowledged event is in the log', published('gone', 3)],
    ['one that is stored and never handled', 'handled, dead or waiting', [...published('c', 3), stored('c', 3)]],
    [
      'one that is dead without a cause',
      'dies of a cause',
      [...published('c', 3), stored('c', 3), { op: 'letter', sub: 'ordered', id: 'c', at: 3, attempts: 1, life: 9 }],
    ],
    [
      'one that was delivered and is not stored',
      'what was delivered is in the log',
      [{ op: 'invoke', call: 900, events: [event('c')], batch: false, life: 0 }, ...handled('c', 3)],
    ],
    [
      'half a batch',
      'a batch is stored all or none',
      [{ op: 'invoke', call: 901, events: [event('a'), event('missing')], batch: true, life: 0 }],
    ],
    [
      'deliveries left behind',
      'comes to its end',
      [{ op: 'state', sub: 'ordered', lag: 0, running: 0, waiting: 0, retrying: 0, held: 3, life: 9 }],
    ],
    [
      'a publish believed after a flush that failed',
      'believes no later flush',
      [
        { op: 'fault', life: 7 },
        { op: 'engine-failed', code: 'CARILLON_ENGINE_FAILED', life: 7 },
        ...published('a', 1, 7),
      ],
    ],
  ])('counts as lost: %s', (_, rule, wrong) => {
    expect(verdict([...good, ...wrong])).toEqual({ counts: { ...none, lost: 1 }, rules: [rule] });
  });

  it.each([
    ['an event that nobody published', 'only what was published is stored', [stored('c', 3), ...handledBefore('c', 3)]],
    ['a payload that is another one', 'delivered as published', [begin('b', 2, { hash: '#a', attempt: 2, life: 1 })]],
    [
      'an event that was refused',
      'a refused event is not stored',
      [
        { op: 'invoke', call: 902, events: [event('c')], batch: false, life: 0 },
        { op: 'no', call: 902, code: 'CARILLON_STORAGE_FULL', life: 0 },
        stored('c', 3),
        ...handledBefore('c', 3),
      ],
    ],
    ['another place than was told', 'an event is where its publish said', published('a', 7, 1)],
  ])('counts as phantom: %s', (_, rule, wrong) => {
    const { counts, rules } = verdict([...good, ...wrong]);
    expect(counts.phantom).toBeGreaterThan(0);
    expect(rules).toContain(rule);
  });

  it.each([
    [
      'a later event that passes a failing one',
      'none overtakes',
      [begin('a', 1), end('a', { ok: false }), ...handled('b', 2), begin('a', 1, { attempt: 2 }), end('a')],
    ],
    ['two of a key at once', 'one at a time', [begin('a', 1), begin('b', 2), end('a'), end('b')]],
    ['the later one first', 'handled in order', [...handled('b', 2), ...handled('a', 1)]],
  ])('counts as inverted: %s', (_, rule, deliveries) => {
    const wrong = [
      ...published('a', 1),
      ...published('b', 2),
      ...deliveries,
      strike(),
      ready,
      stored('a', 1),
      stored('b', 2),
    ];
    const { counts, rules } = verdict(wrong);
    expect(counts).toEqual({ ...none, inverted: counts.inverted });
    expect(rules).toContain(rule);
  });

  it('counts as inverted: stored in another order than published', () => {
    const wrong = [...published('b', 2), ...published('a', 1), ...handled('a', 1), ...handled('b', 2), strike(), ready];
    expect(verdict([...wrong, stored('a', 1), stored('b', 2)]).rules).toEqual(['stored in the order of publishing']);
  });

  const again = (attempt = 2): Entry[] => [begin('b', 2, { life: 1, attempt }), end('b', { life: 1 })];

  it('lets what was in flight at the fault come again', () => {
    const late = good.map((entry) => (entry.op === 'strike' ? strike(0, SECOND_US / 2) : entry));
    expect(verdict([...late, ...again()])).toEqual({ counts: none, rules: [] });
  });

  it.each([
    ['handled more than a second before the fault', 'handled once', again()],
    ['handled again by the same process', 'handled once', [begin('b', 2, { attempt: 2 }), end('b')]],
    ['an attempt that was not counted', 'an attempt counts', again(1)],
    ['more attempts than allowed', 'no more attempts than allowed', again(9)],
    ['stored twice', 'one id is stored once', [stored('b', 3)]],
    ['handled and dead', 'handled or dead', [{ op: 'letter', sub: 'ordered', id: 'b', at: 2, attempts: 8, life: 9 }]],
  ])('counts as duplicate: %s', (_, rule, wrong) => {
    const { counts, rules } = verdict([...good, ...wrong]);
    expect(counts.duplicatesBeyondInFlight).toBeGreaterThan(0);
    expect(rules).toContain(rule);
  });

  it('holds nothing against what was done while the power was cut: it may last or not', () => {
    const cut = { unsure: true, t: 5 * SECOND_US + 1 };
    const during = [
      { op: 'invoke', call: 902, events: [event('c'), event('d')], batch: false, life: 0 },
      { ...begin('c', 3), ...cut },
      { ...end('c'), ...cut },
      { ...begin('d', 4), ...cut },
      { ...end('d'), ...cut },
    ];
    const before = good.slice(0, -3);
    const after = [ready, stored('a', 1), stored('b', 2)];
    expect(verdict([...before, ...during, ...after])).toEqual({ counts: none, rules: [] });
    // What lasted counts as handled; what did not, may be published and handled again, elsewhere.
    const again = [begin('d', 3, { life: 1 }), end('d', { life: 1 })];
    const lasted = [ready, stored('a', 1), stored('b', 2), stored('d', 3), stored('c', 4)];
    expect(verdict([...before, ...during, ...again, ...lasted])).toEqual({ counts: none, rules: [] });
  });

  it('knows by later acknowledgements, too, that an attempt was over before the fault', () => {
    const soon = good.filter(({ op }) => op !== 'strike' && op !== 'ready' && op !== 'log');
    const after = [strike(0, 1000), ready, stored('a', 1), stored('b', 2), ...again()];
    const later = (count: number) => Array.from({ length: count }, () => published('b', 2)).flat();
    expect(verdict([...soon, ...later(2), ...after]).counts).toEqual(none);
    expect(verdict([...soon, ...later(3), ...after]).rules).toEqual(['handled once']);
  });

  it('counts follow-ups that are missing, or there twice', () => {
    const joiner = only('joiner');
    const cause = { ...event('a'), part: 'c' };
    const history = (followUps: number): Entry[] => [
      { op: 'invoke', call: 903, events: [cause], batch: false, life: 0 },
      begin('a', 1, { sub: 'joiner' }),
      ...Array.from({ length: followUps }, (__, no) => join(no)),
      end('a', { sub: 'joiner' }),
      strike(),
      ready,
      { ...stored('a', 1), part: 'c' },
      ...Array.from({ length: followUps }, (__, no) => ({
        ...stored(`f${no}`, 2 + no),
        type: 'crash.follow',
        part: undefined,
        cause: 'a',
      })),
    ];
    expect(verdict(history(1), joiner)).toEqual({ counts: none, rules: [] });
    expect(verdict(history(0), joiner).rules).toEqual(['each handled event has its follow-up']);
    expect(verdict(history(2), joiner).rules).toEqual(['no second follow-up']);
  });

  describe('where several processes share the log', () => {
    const shared: Entry = { op: 'shared', life: -1 };
    const at = (t: number, ...entries: readonly Entry[]) => entries.map((entry) => ({ ...entry, t }));
    /** Published by life 0, and handled by it; then what others do; then what is found at the end. */
    const history = (...others: readonly Entry[]): Entry[] => [
      shared,
      ...published('a', 1),
      ...published('b', 2),
      ...at(10, begin('a', 1), end('a')),
      ...at(11, begin('b', 2)),
      ...others,
      ready,
      stored('a', 1),
      stored('b', 2),
    ];
    const b = end('b');

    it('finds nothing in a good history, whoever handles', () => {
      expect(verdict(history(...at(12, b)))).toEqual({ counts: none, rules: [] });
      const takenOver = [...at(12, strike()), ...at(13, begin('b', 2, { life: 1, attempt: 2 }), end('b', { life: 1 }))];
      expect(verdict(history(...takenOver))).toEqual({ counts: none, rules: [] });
    });

    it('counts what a living process handled and handed over all the same', () => {
      const again = begin('a', 1, { life: 1, attempt: 2 });
      expect(verdict(history(...at(12, b, again, end('a', { life: 1 })))).rules).toEqual(['handled once']);
    });

    it('counts two of one key at once, by two processes', () => {
      const beside = begin('b', 2, { life: 1, attempt: 2 });
      expect(verdict(history(...at(12, beside, end('b', { life: 1 })), ...at(13, b))).rules).toEqual(['one at a time']);
    });

    it('takes what a process that hung says of what others have for void, and lets it begin nothing', () => {
      const hung = [
        ...at(12, { op: 'paused', life: 0 }),
        ...at(20, begin('b', 2, { life: 1, attempt: 2 }), end('b', { life: 1 })),
        ...at(10_000, { op: 'continued', life: 0 }),
      ];
      const fenced = { op: 'fenced', life: 0 };
      expect(verdict(history(...hung, ...at(10_001, b), ...at(30_000, fenced)))).toEqual({ counts: none, rules: [] });
      const begun = at(20_000, begin('b', 2, { attempt: 3 }));
      expect(verdict(history(...hung, ...begun, ...at(30_000, fenced))).rules).toEqual([
        'begins nothing without a lease',
      ]);
    });

    it('takes what a process had handled just before it hung for in flight, whatever it does once it has begun anew', () => {
      const publishes = (...ids: readonly string[]) => ids.flatMap((id, no) => published(id, 3 + no));
      const found = [stored('c', 3), stored('d', 4), stored('e', 5)];
      const hangs = [
        ...at(20, { op: 'paused', life: 0 }),
        ...at(10_000, { op: 'continued', life: 0 }, { op: 'fenced', life: 0 }),
      ];
      const handledAnew = ['c', 'd', 'e'].flatMap((id, no) => at(10_002, begin(id, 3 + no), end(id)));
      const rest = [
        ...at(10_001, ...publishes('c', 'd', 'e')),
        ...handledAnew,
        ...at(10_003, { op: 'stopped', life: 0 }),
      ];
      for (const life of [0, 1]) {
        const again = (['a', 'b'] as const).flatMap((id, no) =>
          at(10_001, begin(id, 1 + no, { life, attempt: 2 }), end(id, { life })),
        );
        const all = [...history(...at(12, b), ...hangs, ...again, ...rest), ...found];
        expect(verdict(all)).toEqual({ counts: none, rules: [] });
      }
      // Three publishes, each after the one before it, came back before it hung: what had ended before them was durable.
      const again = at(30, begin('b', 2, { life: 1, attempt: 2 }), end('b', { life: 1 }));
      const settled = [...at(12, b, ...publishes('c', 'd', 'e')), ...hangs, ...again, ...handledAnew];
      expect(verdict([...history(...settled), ...found]).rules).toEqual(['handled once']);
    });

    it('holds events to the transaction of the application they were published in', () => {
      const within = (id: string, rollsBack: boolean): Entry[] => {
        const call = calls++;
        return [
          { op: 'invoke', call, events: [event(id)], batch: false, within: true, rollsBack, life: 0 },
          rollsBack
            ? { op: 'rolled-back', call, life: 0 }
            : { op: 'ok', call, results: [{ position: null, duplicate: false, scheduledMs: null }], life: 0 },
        ];
      };
      const order = (id: string): Entry => ({ op: 'order', id, life: 9 });
      const found = [...history(b), stored('c', 3), ...handled('c', 3)];
      expect(verdict([...within('c', false), ...found, order('c')])).toEqual({ counts: none, rules: [] });
      expect(verdict([...within('c', false), ...found]).rules).toEqual([
        'an event is not stored without the rows of its transaction',
      ]);
      expect(verdict([...within('d', false), ...history(b), order('d')]).rules).toEqual([
        'an acknowledged event is in the log',
        'an event is stored with the rows of its transaction',
      ]);
      expect(verdict([...within('c', true), ...found]).rules).toContain('a rolled back event is not stored');
    });
  });

  it('counts promises that are none of these as broken', () => {
    expect(verdict([...good, { op: 'broken', what: 'publishing did not resume', life: 0 }]).counts).toEqual({
      ...none,
      broken: 1,
    });
    const late = { op: 'engine-failed', code: 'CARILLON_ENGINE_FAILED', t: 3 * SECOND_US, life: 7 };
    expect(verdict([...good, { op: 'fault', life: 7 }, late]).rules).toEqual(['fails within 1 s of the flush']);
  });
});

function handledBefore(id: string, at: number): Entry[] {
  return [begin(id, at, { life: 1 }), end(id, { life: 1 })];
}

function join(no: number): Entry {
  const id = `f${no}`;
  return {
    op: 'join',
    sub: 'joiner',
    cause: 'a',
    life: 0,
    event: { id, type: 'crash.follow', key: 'k', hash: `#${id}`, lot: 1, life: 0 },
  };
}
