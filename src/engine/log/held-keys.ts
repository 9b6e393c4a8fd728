/**
 * Which keys of a subscription are held back, and why: only those are remembered, so memory grows with what fails and
 * not with the log.
 *
 * A key is `held` while it has a failing delivery (retrying, or running again), a dead one that holds, or deliveries
 * waiting on disk. It is `free` when only the last is left and none of those is handed out: then the waiting ones are
 * handed out, in order, a page at a time; whatever comes meanwhile waits behind them. When none is left the key is
 * forgotten.
 */
interface HeldKey {
  /** Deliveries that failed and are not settled. */
  failing: number;
  /** Dead deliveries that hold the key. */
  holding: number;
  /** Deliveries with a row because they wait, handed out or not. */
  waiting: number;
  /** Of these, handed out. */
  out: number;
}

export class HeldKeys {
  readonly keys: Map<string, HeldKey> = new Map();
  readonly free: Set<string> = new Set();

  get size(): number {
    return this.keys.size;
  }

  isHeld(key: string): boolean {
    return this.keys.has(key);
  }

  /**
   * Whether a delivery about to be handed out must wait.
   * @param waited whether it is one of those that waited, for which only a failing or dead one matters
   */
  mustWait(key: string, waited: boolean): boolean {
    const held = this.keys.get(key);
    if (!held) return false;
    return !waited || held.failing > 0 || held.holding > 0;
  }

  hasFree(): boolean {
    return this.free.size > 0;
  }

  /** A key whose waiting deliveries may be handed out now. Follow with {@link handOut}. */
  nextFree(): string | null {
    for (const key of this.free) return key;
    return null;
  }

  /** As found on disk. */
  restore(key: string, waiting: number, holding: number): void {
    this.change(key, (held) => {
      held.waiting += waiting;
      held.holding += holding;
    });
  }

  fail(key: string | null): void {
    if (key !== null) this.change(key, (held) => held.failing++);
  }

  recover(key: string | null): void {
    if (key !== null) this.change(key, (held) => held.failing--);
  }

  startHolding(key: string): void {
    this.change(key, (held) => held.holding++);
  }

  stopHolding(key: string): void {
    this.change(key, (held) => held.holding--);
  }

  /** One more waits on disk. */
  hold(key: string): void {
    this.change(key, (held) => held.waiting++);
  }

  /** So many of the waiting were handed out; fewer than asked for means that there are no others. */
  handOut(key: string, count: number): void {
    this.change(key, (held) => {
      held.out += count;
      if (count === 0) held.waiting = 0;
    });
  }

  /** One handed out is given back unhandled: it waits on. */
  takeBack(key: string | null): void {
    if (key !== null) this.change(key, (held) => held.out--);
  }

  /** One handed out waits no more: it is settled, or has become the failing one. */
  settleWaiting(key: string | null): void {
    if (key === null) return;
    this.change(key, (held) => {
      held.waiting--;
      held.out--;
    });
  }

  /** Undoes {@link settleWaiting}. */
  restoreWaiting(key: string): void {
    this.change(key, (held) => {
      held.waiting++;
      held.out++;
    });
  }

  /** Forgets what is held of these keys: they are handled elsewhere. */
  forget(gone: (key: string) => boolean): void {
    for (const key of this.keys.keys()) {
      if (!gone(key)) continue;
      this.keys.delete(key);
      this.free.delete(key);
    }
  }

  change(key: string, apply: (held: HeldKey) => void): void {
    const held = this.keys.get(key) ?? { failing: 0, holding: 0, waiting: 0, out: 0 };
    apply(held);
    const { failing, holding, waiting, out } = held;
    if (failing <= 0 && holding <= 0 && waiting <= 0) this.keys.delete(key);
    else this.keys.set(key, held);
    if (failing === 0 && holding === 0 && waiting > 0 && out === 0) this.free.add(key);
    else this.free.delete(key);
  }
}
