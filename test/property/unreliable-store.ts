import { carillonError } from '../../src/core/index.ts';
import type {
  CommitBatch,
  CommitResult,
  DeliveryQuery,
  DeliveryRow,
  LogStore,
  StoreQuery,
  StoreRows,
} from '../../src/engine/log/index.ts';
import { logEngine } from '../../src/engine/log/index.ts';
import type { Engine } from '../../src/engine/index.ts';
import { memoryLog, type MemoryLog } from '../../src/engines/memory/index.ts';
import { MemoryStore } from '../../src/engines/memory/store.ts';
import { realTurn } from '../../src/testing/fake-clock.ts';

/** What a killed process leaves: a copy, so that what it goes on writing is not found. */
function copyOf(log: MemoryLog): MemoryLog {
  const copies = Object.entries(log).map(([name, value]: [string, unknown]) => [
    name,
    value instanceof Map ? new Map(value) : Array.isArray(value) ? [...(value as unknown[])] : value,
  ]);
  return { ...(Object.fromEntries(copies) as MemoryLog), inUse: false };
}

const never = new Promise<never>(() => undefined);

/**
 * A memory store that answers as a disk on another thread does: commits are applied in order, some turns after they
 * were sent, and told some turns after they were applied; reads take their time, too. A crash loses what is not applied
 * and leaves untold what is. While it is full it refuses commits, and with each those of its generation sent after it.
 */
export class UnreliableStore extends MemoryStore implements LogStore {
  readonly random: () => number;
  dead = false;
  full = false;
  refusedGeneration = -1;
  outstanding = 0;
  applied = 0;
  lost = 0;
  /** The commit applied last, and the one told last: both keep their order. */
  tail: Promise<unknown> = Promise.resolve();
  told: Promise<unknown> = Promise.resolve();
  /** Nothing is applied before this, when it is set. */
  blocked: Promise<void> | null = null;
  /** Nothing is asked or answered before this, when it is set. */
  hung: Promise<void> | null = null;
  /** This commit, counted from 1, and those after it are never applied. */
  stuckFrom = Infinity;
  sent = 0;

  constructor(log: MemoryLog, random: () => number) {
    super(log);
    this.random = random;
  }

  /** Up to two turns: what is under way at once then overlaps in every way. */
  async wait(): Promise<void> {
    for (let turns = Math.floor(this.random() * 3); turns > 0; turns--) await realTurn();
    await this.hung;
    if (this.dead) await never;
  }

  async answer<T>(act: () => Promise<T>): Promise<T> {
    this.outstanding++;
    try {
      await this.wait();
      const result = await act();
      await this.wait();
      return result;
    } finally {
      this.outstanding--;
    }
  }

  override commit(batch: CommitBatch): Promise<CommitResult> {
    this.outstanding++;
    const stuck = ++this.sent >= this.stuckFrom;
    const applying = this.tail.then(async () => {
      await this.wait();
      await (stuck ? never : this.blocked);
      if (this.full || batch.generation === this.refusedGeneration) {
        this.refusedGeneration = batch.generation;
        throw carillonError('CARILLON_STORAGE_FULL', 'the test store is full');
      }
      this.applied++;
      return this.apply(batch);
    });
    this.tail = applying.catch(() => undefined);
    const earlier = this.told;
    const telling = this.tell(applying, earlier);
    this.told = telling.catch(() => undefined);
    return telling;
  }

  apply(batch: CommitBatch): Promise<CommitResult> {
    return super.commit(batch);
  }

  async tell(applying: Promise<CommitResult>, earlier: Promise<unknown>): Promise<CommitResult> {
    try {
      return await applying;
    } finally {
      await earlier;
      await this.wait();
      this.outstanding--;
    }
  }

  override read(query: StoreQuery): Promise<StoreRows> {
    return this.answer(() => super.read(query));
  }

  override readDeliveries(query: DeliveryQuery): Promise<readonly DeliveryRow[]> {
    return this.answer(() => super.readDeliveries(query));
  }

  async idle(): Promise<void> {
    while (this.outstanding > 0 && !this.dead && !this.hung) await realTurn();
  }
}

/** A place whose engines use such stores. */
export class UnreliablePlace {
  readonly random: () => number;
  log: MemoryLog = memoryLog();
  store: UnreliableStore | null = null;

  constructor(random: () => number) {
    this.random = random;
  }

  open(): Engine {
    this.store = new UnreliableStore(this.log, this.random);
    return logEngine(this.store);
  }

  crash(): void {
    if (this.store) this.store.dead = true;
    this.log = copyOf(this.log);
  }

  async idle(): Promise<void> {
    await this.store?.idle();
  }
}
