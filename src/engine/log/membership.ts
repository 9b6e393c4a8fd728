import { isCarillonError, toError, type Timer } from '../../core/index.ts';
import type { AnsweredElsewhere } from '../engine.ts';
import { decodeAnswer } from './answers.ts';
import { slotsToLeave, type Share } from './share.ts';
import type { Sharing, Wake } from './sharing.ts';
import { slotsDue } from './slots.ts';
import type { LogSubscription } from './subscription.ts';
import type { LogWriter } from './writer.ts';

/**
 * This process among the others that share the log: keeps its lease, has of every subscription as many slots as it is
 * due, and looks at what the others have added.
 *
 * States: `out` → (start) → `in` → (found to be dead to the others: by a renewal, or by a commit that was refused) →
 * `fenced`: every subscription has lost all it had → (joined anew) → `in`; any → (stop) → `out`.
 *
 * A subscription is balanced when it has what it is due: too much is left, a slot at a time once what was handed out of
 * it has come back; too little is claimed of what is free. Nothing is ever taken from a process that lives. Each process
 * sees the same others in the same order, so that all come to the same division without a word to each other.
 */
type Life = 'out' | 'in' | 'fenced';

/** Renewals within the length of a lease: two may fail. */
const RENEWALS = 3;
const EAGER_FIRST_MS = 1;

export class Membership {
  readonly sharing: Sharing;
  readonly writer: LogWriter;
  readonly subscriptions: Map<LogSubscription, readonly string[]> = new Map();
  /** Told when the earliest scheduled event is due, whoever scheduled it. */
  onDue: (dueMs: number) => void = () => undefined;
  /** Told what came of requests of this process in others. */
  onAnswer: (answered: AnsweredElsewhere) => void = () => undefined;
  life: Life = 'out';
  /** Rises with each membership: what was asked for in an earlier one is answered too late. */
  epoch = 0;
  /** On the monotonic clock of the leases: until then this process is alive to the others. */
  sureUntil = 0;
  /** Whether an attempt was refused its start because the lease was not sure. */
  unsure = false;
  /** In how many ms to look next, if that is sooner than usual. */
  eager: number = Infinity;
  renewal: Timer | null = null;
  looking: Timer | null = null;
  /** Whether there was word of something new while it was looked for. */
  lookedFor: 'no' | 'under-way' | 'again' = 'no';
  retry: Timer | null = null;
  /** What is to be done one after the other. */
  work: Promise<void> = Promise.resolve();
  balancing = false;
  burying = false;

  constructor(sharing: Sharing, writer: LogWriter) {
    this.sharing = sharing;
    this.writer = writer;
    writer.leased = () => this.isLeased();
    writer.onFenced = () => this.fenced();
  }

  isLeased(): boolean {
    if (this.life === 'in' && this.sharing.clock.monotonic() < this.sureUntil) return true;
    this.unsure = true;
    return false;
  }

  async start(): Promise<void> {
    await this.join();
    this.sharing.onWake((wake) => this.woken(wake));
    this.lookLater();
  }

  async join(): Promise<void> {
    const askedAt = this.sharing.clock.monotonic();
    await this.sharing.join();
    this.epoch++;
    this.life = 'in';
    this.renewed(askedAt);
  }

  /** The lease runs from when it was asked for: the store's clock has it from then on or later. */
  renewed(askedAt: number): void {
    this.sureUntil = askedAt + this.sharing.leaseMs;
    this.renewal?.cancel();
    this.renewal = this.sharing.clock.setTimer(this.sharing.leaseMs / RENEWALS, () => void this.renew());
    if (!this.unsure) return;
    this.unsure = false;
    for (const subscription of this.subscriptions.keys()) subscription.holder.renewed();
  }

  async renew(): Promise<void> {
    const askedAt = this.sharing.clock.monotonic();
    const { epoch } = this;
    try {
      const alive = await this.sharing.renew();
      if (!this.isIn(epoch)) return;
      if (!alive) return this.writer.fence();
      this.renewed(askedAt);
      await this.buryDead();
      this.balanceSoon();
    } catch (error) {
      this.fail(error, epoch);
    }
  }

  /** Not in turn with the rest: that may be waiting for what a dead one holds in its hands. */
  async buryDead(): Promise<void> {
    if (this.burying) return;
    this.burying = true;
    const { epoch } = this;
    try {
      await this.sharing.bury();
    } catch (error) {
      this.fail(error, epoch);
    } finally {
      this.burying = false;
    }
  }

  isIn(epoch: number): boolean {
    return this.life === 'in' && epoch === this.epoch;
  }

  /** What this process had is others'. */
  fenced(): void {
    if (this.life !== 'in') return;
    this.life = 'fenced';
    this.renewal?.cancel();
    this.writer.host.log.warn('this process was taken for dead by the others that share the log; it starts over');
    for (const subscription of this.subscriptions.keys()) subscription.lose();
    this.later(async () => {
      if (this.life !== 'fenced') return;
      await this.join();
      for (const [subscription, responds] of this.subscriptions) await this.sharing.enlist(subscription.no, responds);
      this.balanceSoon();
    });
  }

  /** Resolves once the subscription has what it can have now. */
  async add(subscription: LogSubscription, responds: readonly string[]): Promise<void> {
    this.subscriptions.set(subscription, responds);
    const { epoch } = this;
    try {
      await this.now(async () => {
        await this.sharing.enlist(subscription.no, responds);
        await this.balance(subscription);
      });
    } catch (error) {
      // Having started over, it will be enlisted like the others.
      if (!isLeaseLost(error)) throw error;
      this.fail(error, epoch);
    }
  }

  remove(subscription: LogSubscription): void {
    this.subscriptions.delete(subscription);
  }

  woken(wake: Wake): void {
    if (wake === 'members') this.balanceSoon();
    else if (wake === 'changes') this.later(() => this.takeChanges());
    else if (wake === 'answers') this.takeAnswers();
    else this.look();
  }

  lookLater(): void {
    this.looking?.cancel();
    const { lookMs, clock } = this.sharing;
    this.looking = clock.setTimer(Math.min(lookMs, this.eager), () => {
      this.eager *= 2;
      this.look();
    });
  }

  /** Resolves once this process knows of all that others had appended when it was called. */
  async seen(): Promise<void> {
    this.writer.tail.saw(await this.sharing.look());
  }

  /** Something will be there to be seen, nobody knows when: looks at once, then at longer and longer intervals. */
  lookEagerly(): void {
    this.eager = EAGER_FIRST_MS;
    this.look();
  }

  /** Looks at how far the log has come. Word that comes while it looks makes it look once more. */
  look(): void {
    if (this.life === 'out') return;
    if (this.lookedFor !== 'no') {
      this.lookedFor = 'again';
      return;
    }
    this.lookedFor = 'under-way';
    const { epoch } = this;
    this.sharing.look().then(
      (sight) => {
        const { nextDueMs, changes, answers } = sight;
        this.writer.tail.saw(sight);
        if (nextDueMs !== null) this.onDue(nextDueMs);
        if (changes) this.later(() => this.takeChanges());
        if (answers) this.takeAnswers();
        const again = this.lookedFor === 'again';
        this.lookedFor = 'no';
        if (again) this.look();
        else this.lookLater();
      },
      (error: unknown) => {
        this.lookedFor = 'no';
        this.lookLater();
        this.fail(error, epoch);
      },
    );
  }

  async takeChanges(): Promise<void> {
    const changes = await this.sharing.takeChanges();
    for (const change of changes) {
      for (const subscription of this.subscriptions.keys()) {
        if (subscription.no === change.subscription) subscription.changed(change);
      }
    }
  }

  /** Resolves once this process knows of all changes that were made before. */
  async changesTaken(): Promise<void> {
    const { epoch } = this;
    await this.now(() => this.takeChanges()).catch((error: unknown) => this.fail(error, epoch));
  }

  /** Not in turn with the rest: an answer is waited for. */
  takeAnswers(): void {
    const { epoch } = this;
    this.sharing.takeAnswers().then(
      (answers) => answers.forEach((answer) => this.onAnswer(decodeAnswer(answer))),
      (error: unknown) => this.fail(error, epoch),
    );
  }

  balanceSoon(): void {
    if (this.balancing || this.life === 'out') return;
    this.balancing = true;
    this.later(async () => {
      this.balancing = false;
      for (const subscription of this.subscriptions.keys()) await this.balance(subscription);
    });
  }

  async balance(subscription: LogSubscription): Promise<void> {
    const share = subscription.share as Share;
    const { epoch } = this;
    // What is leaving has to be gone first.
    if (this.life !== 'in' || subscription.closed || share.leaving.size > 0) return;
    const { me, all } = await this.sharing.runners(subscription.no);
    if (!this.isIn(epoch) || share.leaving.size > 0) return;
    const due = slotsDue(all, me, subscription.spec.order === 'total');
    const { staying } = share;
    if (staying > due) this.giveUp(subscription, staying - due);
    else if (staying < due) await this.claim(subscription, due - staying);
  }

  async claim(subscription: LogSubscription, slots: number): Promise<void> {
    const { epoch } = this;
    const share = subscription.share as Share;
    const taken = await this.sharing.claim(
      subscription.no,
      slots,
      share.held.map(({ no }) => no),
    );
    if (!this.isIn(epoch)) return;
    if (taken.length > 0) await subscription.acquire(taken);
    if (share.held.length > 1) await this.rearrange(subscription);
    if (taken.reduce((sum, one) => sum + one.slots.length, 0) < slots) this.lookAgain();
  }

  /** A process that has died leaves slots behind, and nobody says so. */
  lookAgain(): void {
    this.retry ??= this.sharing.clock.setTimer(this.sharing.lookMs, () => {
      this.retry = null;
      void this.buryDead().then(() => this.balanceSoon());
    });
  }

  /** Not waited for here: what is handed out may take its time to come back. */
  giveUp(subscription: LogSubscription, count: number): void {
    const share = subscription.share as Share;
    const { epoch } = this;
    subscription
      .leave(slotsToLeave(share, count))
      .then(() => this.now(() => this.rearrange(subscription)))
      .then(
        () => this.balanceSoon(),
        (error: unknown) => this.fail(error, epoch),
      );
  }

  async rearrange(subscription: LogSubscription): Promise<void> {
    if (this.life !== 'in' || subscription.closed) return;
    await this.writer.arrange(subscription);
  }

  later(task: () => Promise<void>): void {
    let { epoch } = this;
    const begun = (): Promise<void> => {
      ({ epoch } = this);
      return task();
    };
    void this.now(begun).catch((error: unknown) => this.fail(error, epoch));
  }

  now(task: () => Promise<void>): Promise<void> {
    const done = this.work.then(() => (this.life === 'out' ? undefined : task()));
    this.work = done.catch(() => undefined);
    return done;
  }

  /** @param epoch of the membership in which it was asked for */
  fail(error: unknown, epoch: number): void {
    if (this.life === 'out' || this.writer.failure) return;
    if (!isLeaseLost(error)) this.writer.fail(toError(error));
    else if (this.isIn(epoch)) this.writer.fence();
  }

  /** After the subscriptions have closed. */
  async stop(): Promise<void> {
    this.renewal?.cancel();
    this.looking?.cancel();
    this.retry?.cancel();
    const { life } = this;
    this.life = 'out';
    await this.work;
    if (life !== 'out' && !this.writer.failure) await this.sharing.leave();
  }
}

const isLeaseLost = (error: unknown): boolean => isCarillonError(error, 'CARILLON_LEASE_LOST');
