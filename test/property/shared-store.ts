import { carillonError, type Clock, type StartFrom } from '../../src/core/index.ts';
import { logEngine } from '../../src/engine/log/index.ts';
import type {
  Arrangement,
  CommitBatch,
  CommitResult,
  DeadChange,
  DeliveryRow,
  HeldKeyCount,
  Remains,
  RowChange,
  Sharing,
  StoredShare,
  StoredSubscription,
  StoreOpened,
  StoreQuery,
  StoreRows,
  Wake,
} from '../../src/engine/log/index.ts';
import type { Engine } from '../../src/engine/index.ts';
import { SLOTS } from '../../src/engine/log/slots.ts';
import { memoryLog, type MemoryLog } from '../../src/engines/memory/index.ts';
import { UnreliableStore } from './unreliable-store.ts';

const allSlots: readonly number[] = Array.from({ length: SLOTS }, (_, slot) => slot);

interface ShareRow {
  readonly no: number;
  readonly subscription: number;
  slots: readonly number[];
  readonly start: number;
  owner: number | null;
  version: number;
  state: Uint8Array | null;
  reached: number;
}

/** A log in memory that several engines share, each as a process of its own would. */
export class SharedPlace {
  readonly random: () => number;
  readonly leaseMs: number;
  readonly log: MemoryLog = memoryLog();
  /** When each member's lease ends. */
  readonly members: Map<number, number> = new Map();
  readonly runners: Map<number, Set<number>> = new Map();
  readonly shares: Map<number, ShareRow> = new Map();
  changes: RowChange[] = [];
  lastMember = 0;
  lastShare = 0;
  readonly stores: Set<SharedStore> = new Set();
  /** Told of every member that was declared dead. */
  onBuried: (member: number) => void = () => undefined;
  /** Told of every store that has become a member. */
  onJoined: (store: SharedStore) => void = () => undefined;

  constructor(random: () => number, leaseMs: number) {
    this.random = random;
    this.leaseMs = leaseMs;
  }

  open(clock: Clock): { readonly engine: Engine; readonly store: SharedStore } {
    const store = new SharedStore(this, clock);
    this.stores.add(store);
    return { engine: logEngine(store), store };
  }

  async idle(): Promise<void> {
    for (const store of this.stores) await store.idle();
  }

  wake(wake: Wake, except: SharedStore): void {
    for (const store of this.stores) {
      // Some are lost: nothing may depend on them.
      if (store !== except && !store.dead && !store.hung && this.random() < 0.8) store.wakened(wake);
    }
  }

  bury(nowMs: number): void {
    for (const [member, endsMs] of this.members) {
      if (endsMs > nowMs) continue;
      this.free(member);
      this.onBuried(member);
    }
  }

  free(member: number): void {
    this.members.delete(member);
    for (const runners of this.runners.values()) runners.delete(member);
    for (const share of this.shares.values()) if (share.owner === member) this.freeShare(share);
  }

  freeShare(share: ShareRow): void {
    share.owner = null;
    share.reached = this.log.last;
  }

  ofSubscription(subscription: number): ShareRow[] {
    return [...this.shares.values()].filter((share) => share.subscription === subscription);
  }

  ownerOf(subscription: number, slot: number): number | null {
    return this.ofSubscription(subscription).find((share) => share.slots.includes(slot))?.owner ?? null;
  }

  add(row: Omit<ShareRow, 'no'>): number {
    const no = ++this.lastShare;
    this.shares.set(no, { ...row, no });
    return no;
  }
}

/** One process's store on such a place. Every call takes its time, and is applied in one step. */
export class SharedStore extends UnreliableStore {
  readonly place: SharedPlace;
  override readonly sharing: Sharing;
  member = 0;
  listener: (wake: Wake) => void = () => undefined;

  constructor(place: SharedPlace, clock: Clock) {
    super(place.log, place.random);
    this.place = place;
    this.sharing = sharingOf(this, clock);
  }

  override async open(): Promise<StoreOpened> {
    this.log.inUse = false;
    return super.open();
  }

  override async close(): Promise<void> {
    this.place.stores.delete(this);
    return super.close();
  }

  wakened(wake: Wake): void {
    this.listener(wake);
  }

  assertAlive(): void {
    if (!this.place.members.has(this.member)) throw carillonError('CARILLON_LEASE_LOST', 'declared dead');
  }

  override async apply(batch: CommitBatch): Promise<CommitResult> {
    const { states, put, remove, joined, arrangements } = batch;
    if (states.length + put.length + remove.length + joined + arrangements.length > 0) this.assertAlive();
    const before = this.log.last;
    const recordedMs = Math.max(batch.recordedMs, this.log.events.at(-1)?.recordedMs ?? 0);
    for (const { share: no, version, state } of states) {
      const share = this.place.shares.get(no);
      if (share?.owner !== this.member) throw carillonError('CARILLON_BUG', `share ${no} is not held`);
      if (version > share.version) Object.assign(share, { version, state });
    }
    for (const { subscription, slot, position } of put) {
      if (this.place.ownerOf(subscription, slot) !== this.member) {
        throw carillonError('CARILLON_BUG', `the slot of ${position} is not held`);
      }
    }
    const result = await super.apply({ ...batch, recordedMs, states: [] });
    const arranged = arrangements.map((one) => rearrange(this.place, this.member, one));
    if (arranged.length > 0) this.place.wake('members', this);
    if (this.log.last > before) this.place.wake('log', this);
    return { ...result, arranged, amidOthers: { before, recordedMs } };
  }

  override async openSubscription(name: string, from: StartFrom): Promise<StoredSubscription> {
    return this.answer(async () => {
      const known = this.log.subscriptions.has(name);
      const stored = await super.openSubscription(name, from);
      if (!known) {
        const { no: subscription, start } = stored;
        this.place.add({ subscription, slots: allSlots, start, owner: null, version: 0, state: null, reached: 0 });
      }
      return stored;
    });
  }

  override read(query: StoreQuery): Promise<StoreRows> {
    const { slots, ...rest } = query;
    return super.read(rest).then(({ rows, scannedTo }) => ({
      rows: slots === undefined ? rows : rows.filter(({ slot }) => slots.includes(slot)),
      scannedTo,
    }));
  }
}

function sharingOf(store: SharedStore, clock: Clock): Sharing {
  const { place } = store;
  const { log } = place;
  const call = <Result>(act: () => Result): Promise<Result> =>
    store.answer(async () => {
      store.assertAlive();
      return act();
    });
  const rowsOf = (subscription: number): DeliveryRow[] =>
    [...log.deliveries.values()]
      .filter((row) => row.subscription === subscription)
      .sort((a, b) => a.position - b.position);
  return {
    get member() {
      return store.member;
    },
    asker: 0,
    leaseMs: place.leaseMs,
    lookMs: place.leaseMs / 2,
    clock,
    join: () =>
      store.answer(async () => {
        store.member = ++place.lastMember;
        place.members.set(store.member, clock.now() + place.leaseMs);
        place.onJoined(store);
        place.wake('members', store);
      }),
    renew: () =>
      store.answer(async () => {
        if (!place.members.has(store.member)) return false;
        place.members.set(store.member, clock.now() + place.leaseMs);
        return true;
      }),
    bury: () => call(() => place.bury(clock.now())),
    leave: () =>
      store.answer(async () => {
        place.free(store.member);
        place.wake('members', store);
      }),
    enlist: (subscription) =>
      call(() => {
        place.runners.set(subscription, (place.runners.get(subscription) ?? new Set()).add(store.member));
        place.wake('members', store);
      }),
    delist: (subscription) =>
      store.answer(async () => {
        place.runners.get(subscription)?.delete(store.member);
        for (const share of place.ofSubscription(subscription)) {
          if (share.owner === store.member) place.freeShare(share);
        }
        place.wake('members', store);
      }),
    runners: (subscription) =>
      call(() => ({
        me: store.member,
        all: [...(place.runners.get(subscription) ?? [])].sort((a, b) => a - b),
      })),
    claim: (subscription, slots) => call(() => claim(place, store.member, subscription, slots)),
    remains: (subscription, slots) => call(() => remains(rowsOf(subscription), subscription, slots)),
    changeDead: (change) =>
      store.answer(async () => {
        const positions = changeDead(change);
        place.wake('changes', store);
        return positions;
      }),
    takeChanges: () =>
      call(() => {
        const mine = ({ subscription, row }: RowChange): boolean =>
          place.ownerOf(subscription, row.slot) === store.member;
        const taken = place.changes.filter(mine);
        place.changes = place.changes.filter((change) => !mine(change));
        return taken;
      }),
    responders: () => call(() => []),
    takeAnswers: () => call(() => []),
    look: () =>
      store.answer(async () => {
        const due = [...log.scheduled.values()].map(({ dueMs }) => dueMs);
        const nextDueMs = due.length > 0 ? Math.min(...due) : null;
        return { last: log.last, removed: 0, nextDueMs, changes: place.changes.length > 0, answers: false };
      }),
    onWake: (listener) => {
      store.listener = listener;
    },
  };

  function remains(rows: readonly DeliveryRow[], subscription: number, slots: readonly number[]): Remains {
    place.changes = place.changes.filter(
      (change) => change.subscription !== subscription || !slots.includes(change.row.slot),
    );
    const ofSlots = rows.filter(({ slot }) => slots.includes(slot));
    const keys = new Map<string, { key: string; held: number; holding: number }>();
    for (const { key, state, holds } of ofSlots) {
      if (key === null || !(state === 'held' || (state === 'dead' && holds))) continue;
      const count = keys.get(key) ?? { key, held: 0, holding: 0 };
      if (state === 'held') count.held++;
      else count.holding++;
      keys.set(key, count);
    }
    return {
      rows: ofSlots.filter(({ state }) => state !== 'held' && state !== 'dead'),
      keys: [...keys.values()] satisfies HeldKeyCount[],
    };
  }

  function changeDead({ kind, subscriptionName, positions, data, nowMs }: DeadChange): number[] {
    const subscription = log.subscriptions.get(subscriptionName)?.no ?? 0;
    const dead = rowsOf(subscription).filter(
      (row) => row.state === 'dead' && (positions?.includes(row.position) ?? true),
    );
    if (positions !== undefined && dead.length < positions.length) {
      throw carillonError('CARILLON_DEAD_LETTER_UNKNOWN', 'there is none');
    }
    for (const row of dead) {
      const key = `${subscription}:${row.position}`;
      const redriven = { ...row, state: 'retrying', attempts: 0, atMs: nowMs, holds: false } as const;
      if (kind === 'discard') log.deliveries.delete(key);
      else log.deliveries.set(key, { ...redriven, data: data ?? row.data });
      place.changes.push({ kind, subscription, row, atMs: nowMs });
    }
    return dead.map(({ position }) => position);
  }
}

function claim(place: SharedPlace, member: number, subscription: number, slots: number): StoredShare[] {
  const taken: StoredShare[] = [];
  let left = slots;
  for (const share of place.ofSubscription(subscription)) {
    if (share.owner !== null || left === 0) continue;
    const part = share.slots.slice(0, left);
    left -= part.length;
    if (part.length < share.slots.length) {
      place.add({ ...share, slots: share.slots.slice(part.length) });
      share.slots = part;
    }
    share.owner = member;
    const { no, start, version, state, reached } = share;
    taken.push({ no, slots: part, start, version, state, reached });
  }
  return taken;
}

function rearrange(place: SharedPlace, member: number, { subscription, kept, freed }: Arrangement): number | null {
  const before: number[] = [];
  for (const share of place.ofSubscription(subscription)) {
    if (share.owner !== member) continue;
    before.push(...share.slots);
    place.shares.delete(share.no);
  }
  const after = [...(kept?.slots ?? []), ...(freed?.slots ?? [])];
  if (String(before.sort((a, b) => a - b)) !== String(after.sort((a, b) => a - b))) {
    throw carillonError('CARILLON_BUG', `rearranged ${String(before)} into ${String(after)}`);
  }
  const made = { subscription, start: 0, version: 1, reached: place.log.last };
  if (freed) place.add({ ...made, slots: freed.slots, owner: null, state: freed.state });
  return kept ? place.add({ ...made, slots: kept.slots, owner: member, state: kept.state }) : null;
}
