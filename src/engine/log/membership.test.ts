import { describe, expect, it } from 'vitest';
import { carillonError, silentLogger } from '../../core/index.ts';
import { fakeClock } from '../../testing/index.ts';
import { Membership } from './membership.ts';
import { Share, type StoredShare } from './share.ts';
import type { Answer, RowChange, Sharing, Sight, Wake } from './sharing.ts';
import { SLOTS, SlotSet } from './slots.ts';
import type { LogSubscription } from './subscription.ts';
import type { LogWriter } from './writer.ts';

const LEASE_MS = 9000;
const LOOK_MS = 250;
const leaseLost = (): Error => carillonError('CARILLON_LEASE_LOST', 'dead to the others');
const nothingNew: Sight = { last: 0, removed: 0, nextDueMs: null, changes: false, answers: false };
const allSlots = (count: number): number[] => Array.from({ length: count }, (_, slot) => slot);

/** The others, and what the store knows of this process; every call is noted. */
class Others implements Sharing {
  readonly clock = fakeClock();
  readonly leaseMs = LEASE_MS;
  readonly lookMs = LOOK_MS;
  readonly calls: string[] = [];
  member = 0;
  readonly asker = 1;
  alive = true;
  /** Members that run the subscription, this one among them when it has enlisted. */
  all: number[] = [];
  free: number[] = allSlots(SLOTS);
  sight: Sight = nothingNew;
  changes: RowChange[] = [];
  answers: Answer[] = [];
  /** Fails the next call of that name. */
  readonly failing: Map<string, Error> = new Map();
  /** Answers to calls of that name wait until they are let go on. */
  readonly holding: Map<string, (() => void)[]> = new Map();
  wake: (wake: Wake) => void = () => undefined;

  async called<Result>(name: string, answer: () => Result): Promise<Result> {
    this.calls.push(name);
    const result = answer();
    const held = this.holding.get(name);
    if (held) await new Promise<void>((resolve) => held.push(resolve));
    const error = this.failing.get(name);
    this.failing.delete(name);
    if (error) throw error;
    return result;
  }

  join = (): Promise<void> =>
    this.called('join', () => {
      this.member++;
      this.alive = true;
    });
  renew = (): Promise<boolean> => this.called('renew', () => this.alive);
  bury = (): Promise<void> => this.called('bury', () => undefined);
  leave = (): Promise<void> => this.called('leave', () => undefined);
  enlist = (subscription: number): Promise<void> =>
    this.called(`enlist ${subscription}`, () => void (this.all = [...this.all, this.member]));
  delist = (): Promise<void> => this.called('delist', () => undefined);
  runners = (): Promise<{ me: number; all: readonly number[] }> =>
    this.called('runners', () => ({ me: this.member, all: this.all }));
  claim = (_subscription: number, slots: number): Promise<readonly StoredShare[]> =>
    this.called(`claim ${slots}`, () => {
      const taken = this.free.splice(0, slots);
      return taken.length === 0
        ? []
        : [{ no: this.calls.length, slots: taken, version: 0, state: null, start: 0, reached: 0 }];
    });
  look = (): Promise<Sight> => this.called('look', () => this.sight);
  takeChanges = (): Promise<readonly RowChange[]> => this.called('takeChanges', () => this.changes.splice(0));
  takeAnswers = (): Promise<readonly Answer[]> => this.called('takeAnswers', () => this.answers.splice(0));
  remains = (): never => {
    throw new Error('of the subscription');
  };
  changeDead = (): never => {
    throw new Error('of dead letters');
  };
  responders = (): never => {
    throw new Error('of requests');
  };
  onWake = (listener: (wake: Wake) => void): void => void (this.wake = listener);

  /** What was called since the last time, without what is done all the time. */
  noted(): string[] {
    return this.calls.splice(0).filter((name) => name !== 'look' && name !== 'runners');
  }
}

/** As much of a subscription as membership sees. */
class Subscription {
  readonly no: number;
  readonly share: Share = new Share();
  readonly spec: { readonly order: 'key' | 'total' };
  readonly closed = false;
  readonly changedBy: RowChange[] = [];
  lost = 0;
  renewed = 0;
  /** Lets what was handed out of leaving slots come back. */
  comeBack: () => void = () => undefined;
  readonly holder = { renewed: () => void this.renewed++ };

  constructor(no: number, order: 'key' | 'total' = 'key') {
    this.no = no;
    this.spec = { order };
  }

  async acquire(shares: readonly StoredShare[]): Promise<void> {
    for (const share of shares) this.share.acquire(share, new Map(share.slots.map((slot) => [slot, 0])), 0);
  }

  leave(slots: readonly number[]): Promise<void> {
    this.share.leave(slots, 0);
    return new Promise((resolve) => (this.comeBack = resolve));
  }

  lose(): void {
    this.lost++;
    this.share.lose();
  }

  changed(change: RowChange): void {
    this.changedBy.push(change);
  }
}

function setUp() {
  const others = new Others();
  const { clock } = others;
  const told = { saw: [] as Sight[], failures: [] as Error[], warnings: [] as string[] };
  const writer = {
    failure: null as Error | null,
    leased: () => true,
    onFenced: () => undefined,
    tail: { saw: (sight: Sight) => void told.saw.push(sight) },
    host: { log: { ...silentLogger, warn: (message: string) => void told.warnings.push(message) } },
    fence(): void {
      this.onFenced();
    },
    fail(error: Error): void {
      this.failure = error;
      told.failures.push(error);
    },
    arrange: async (subscription: LogSubscription) => {
      const { share } = subscription as unknown as Subscription;
      others.calls.push(`arrange ${share.staying}`);
      others.free.push(...share.leaving.keys());
      share.becomes(share.staying === 0 ? null : 99, 1);
    },
  };
  const membership = new Membership(others, writer as unknown as LogWriter);
  const add = async (subscription: Subscription): Promise<Subscription> => {
    await membership.add(subscription as unknown as LogSubscription, []);
    return subscription;
  };
  return { others, clock, writer, told, membership, add };
}

type SetUp = ReturnType<typeof setUp>;

/** Alone, with a subscription that it holds whole. */
async function started(): Promise<SetUp & { readonly mine: Subscription }> {
  const parts = setUp();
  await parts.membership.start();
  const mine = await parts.add(new Subscription(1));
  parts.others.noted();
  return { ...parts, mine };
}

describe('the lease of a member', () => {
  it('is renewed three times in its length, and is sure until its end, counted from when it was asked for', async () => {
    const { others, clock, membership, mine } = await started();
    await clock.advance(LEASE_MS / 3);
    expect(others.noted()).toEqual(['renew', 'bury']);
    others.holding.set('renew', []);
    await clock.advance(LEASE_MS - 1);
    expect(membership.isLeased()).toBe(true);
    await clock.advance(1);
    expect(membership.isLeased()).toBe(false);
    // Somebody was refused; he hears of it when it is sure again.
    expect(mine.renewed).toBe(0);
    const goOn = others.holding.get('renew')?.splice(0) ?? [];
    for (const one of goOn) one();
    await clock.advance(LEASE_MS / 3 - 1);
    expect([goOn.length, mine.renewed, membership.isLeased()]).toEqual([1, 1, true]);
    await clock.advance(1);
    expect(membership.isLeased()).toBe(false);
    others.holding.get('renew')?.[0]?.();
    await membership.stop();
  });

  it('that was lost makes the process start over, once: nothing is held, then it joins, enlists and claims', async () => {
    const { others, clock, membership, mine, told } = await started();
    others.alive = false;
    others.all = [];
    others.free = allSlots(SLOTS);
    await clock.advance(LEASE_MS / 3);
    expect([mine.lost, told.warnings.length]).toEqual([1, 1]);
    expect(others.noted()).toEqual(['renew', 'join', 'enlist 1', `claim ${SLOTS}`]);
    expect([membership.life, mine.share.owned.size, others.member]).toEqual(['in', SLOTS, 2]);
    await membership.stop();
  });

  it('found to be lost by any call fences; what an earlier membership had asked for does not', async () => {
    const { others, clock, membership, mine, told } = await started();
    others.holding.set('takeAnswers', []);
    others.wake('answers');
    others.failing.set('takeChanges', leaseLost());
    others.wake('changes');
    await clock.advance(0);
    expect([mine.lost, others.member]).toEqual([1, 2]);
    others.failing.set('takeAnswers', leaseLost());
    for (const goOn of others.holding.get('takeAnswers') ?? []) goOn();
    await clock.advance(0);
    expect([mine.lost, others.member, told.failures]).toEqual([1, 2, []]);
    await membership.stop();
  });

  it('any other failure is the end of the engine', async () => {
    const { others, clock, membership, told } = await started();
    others.failing.set('renew', new Error('out of order'));
    await clock.advance(LEASE_MS / 3);
    expect(told.failures.map(({ message }) => message)).toEqual(['out of order']);
    await membership.stop();
    expect(others.noted()).toEqual(['renew']);
  });
});

describe('balancing', () => {
  it('claims what is due', async () => {
    const { others, membership, add } = setUp();
    await membership.start();
    others.all = [7, 8];
    const mine = await add(new Subscription(1));
    // One of three: the last in the order that all of them see.
    expect([others.noted(), mine.share.owned.size]).toEqual([['join', 'enlist 1', 'claim 21'], 21]);
    await membership.stop();
  });

  it('gives up what is too much once it has come back, and claims nothing meanwhile', async () => {
    const { others, clock, membership, mine } = await started();
    others.all = [1, 2];
    others.wake('members');
    await clock.advance(0);
    expect([mine.share.staying, mine.share.leaving.size, others.noted()]).toEqual([SLOTS / 2, SLOTS / 2, []]);
    others.all = [1];
    others.wake('members');
    await clock.advance(0);
    expect(others.noted()).toEqual([]);
    mine.comeBack();
    await clock.advance(0);
    expect([others.noted(), mine.share.owned.size]).toEqual([
      [`arrange ${SLOTS / 2}`, `claim ${SLOTS / 2}`, `arrange ${SLOTS}`],
      SLOTS,
    ]);
    await membership.stop();
  });

  it('makes one share of several', async () => {
    const { others, clock, membership, mine } = await started();
    const half = new SlotSet(allSlots(SLOTS / 2));
    mine.share.becomes(5, 1);
    for (const slot of allSlots(SLOTS)) if (!half.has(slot)) mine.share.owned.delete(slot);
    others.free = allSlots(SLOTS).filter((slot) => !half.has(slot));
    others.wake('members');
    await clock.advance(0);
    expect(others.noted()).toEqual([`claim ${SLOTS / 2}`, `arrange ${SLOTS}`]);
    expect(mine.share.held.length).toBe(1);
    await membership.stop();
  });

  it('with total order the first has all, the others nothing', async () => {
    const { others, clock, membership, add } = setUp();
    await membership.start();
    others.all = [7];
    const mine = await add(new Subscription(1, 'total'));
    expect(mine.share.owned.size).toBe(0);
    others.all = [1];
    others.wake('members');
    await clock.advance(0);
    expect(mine.share.owned.size).toBe(SLOTS);
    await membership.stop();
  });

  it('looks again, and buries, while somebody holds what is due here and says nothing', async () => {
    const { others, clock, membership, add } = setUp();
    await membership.start();
    others.free = [];
    const mine = await add(new Subscription(1));
    others.noted();
    await clock.advance(LOOK_MS);
    expect([others.noted(), mine.share.owned.size]).toEqual([['bury', `claim ${SLOTS}`], 0]);
    others.free = allSlots(SLOTS);
    await clock.advance(LOOK_MS);
    expect([others.noted(), mine.share.owned.size]).toEqual([['bury', `claim ${SLOTS}`], SLOTS]);
    await clock.advance(LOOK_MS);
    expect(others.noted()).toEqual([]);
    await membership.stop();
  });

  it('buries, too, while the store answers nothing else: the dead one may hold what it waits for', async () => {
    const { others, clock, membership, mine } = await started();
    others.holding.set('runners', []);
    others.wake('members');
    await clock.advance(LEASE_MS);
    expect(others.noted()).toEqual(['renew', 'bury', 'renew', 'bury', 'renew', 'bury']);
    for (const goOn of others.holding.get('runners') ?? []) goOn();
    await membership.stop();
    expect(mine.lost).toBe(0);
  });

  it('what was claimed in an earlier membership is not taken', async () => {
    const { others, clock, membership, mine } = await started();
    mine.share.lose();
    others.free = allSlots(SLOTS);
    others.holding.set(`claim ${SLOTS}`, []);
    others.wake('members');
    await clock.advance(0);
    membership.fenced();
    for (const goOn of others.holding.get(`claim ${SLOTS}`) ?? []) goOn();
    others.holding.delete(`claim ${SLOTS}`);
    await clock.advance(0);
    expect([others.member, mine.share.owned.size]).toEqual([2, 0]);
    await membership.stop();
  });
});

describe('looking', () => {
  it('is done when it is time, and tells what was seen', async () => {
    const { others, clock, membership, told } = await started();
    const due: number[] = [];
    membership.onDue = (dueMs) => void due.push(dueMs);
    others.sight = { last: 7, removed: 2, nextDueMs: 1234, changes: true, answers: true };
    await clock.advance(LOOK_MS);
    expect([told.saw.at(-1), due]).toEqual([others.sight, [1234]]);
    expect(others.noted()).toEqual(['takeAnswers', 'takeChanges']);
    await membership.stop();
  });

  it('word that comes while it looks makes it look once more, and only once', async () => {
    const { others, clock, membership } = await started();
    others.calls.length = 0;
    others.holding.set('look', []);
    for (let times = 0; times < 5; times++) others.wake('log');
    expect(others.calls).toEqual(['look']);
    const [first] = others.holding.get('look') ?? [];
    first?.();
    await clock.advance(0);
    expect(others.calls).toEqual(['look', 'look']);
    others.holding.get('look')?.[1]?.();
    await clock.advance(0);
    expect(others.calls).toEqual(['look', 'look']);
    await membership.stop();
  });

  it('eagerly is at once, then at longer and longer intervals, up to the usual one', async () => {
    const { others, clock, membership } = await started();
    others.calls.length = 0;
    membership.lookEagerly();
    const looks: number[] = [];
    for (let ms = 0; ms < 4 * LOOK_MS; ms++) {
      for (const name of others.calls.splice(0)) if (name === 'look') looks.push(ms);
      await clock.advance(1);
    }
    const intervals = looks.slice(1).map((ms, index) => ms - (looks[index] as number));
    expect(intervals.slice(0, 8)).toEqual([1, 2, 4, 8, 16, 32, 64, 128]);
    expect(intervals.slice(8)).toEqual([LOOK_MS, LOOK_MS]);
    await membership.stop();
  });

  it('changes go to the subscription they are of', async () => {
    const { others, clock, membership, mine, add } = await started();
    const other = await add(new Subscription(2));
    const change = {
      kind: 'redrive',
      subscription: 2,
      row: { slot: 0, position: 1, holds: false, key: null },
      atMs: 0,
    } as const;
    others.changes = [change];
    await membership.changesTaken();
    expect([mine.changedBy, other.changedBy]).toEqual([[], [change]]);
    await clock.advance(0);
    await membership.stop();
  });
});

describe('stopping', () => {
  it('waits for what is under way, leaves, and does nothing any more', async () => {
    const { others, clock, membership } = await started();
    others.holding.set('takeChanges', []);
    others.wake('changes');
    await clock.advance(0);
    let stopped = false;
    const stopping = membership.stop().then(() => (stopped = true));
    await clock.advance(0);
    expect([stopped, others.noted()]).toEqual([false, ['takeChanges']]);
    others.holding.get('takeChanges')?.[0]?.();
    await stopping;
    for (const wake of ['log', 'members', 'changes'] as const) others.wake(wake);
    await clock.advance(2 * LEASE_MS);
    expect(others.calls).toEqual(['leave']);
  });
});
