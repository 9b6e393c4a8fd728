import { describe, expect, it } from 'vitest';
import type { FreshRow } from './rows.ts';
import type { LogStore, StoreQuery, StoreRows } from './store.ts';
import { LogTail, type TailHost } from './tail.ts';

const row = (position: number): FreshRow => ({ position, data: null, fresh: null }) as FreshRow;

/** A log that others append to, and whose reads end when they are told to. */
class Log implements TailHost {
  readonly positions: number[] = [];
  readonly asked: StoreQuery[] = [];
  readonly waiting: (() => void)[] = [];
  readonly grown: number[] = [];
  wanted = true;
  error: Error | null = null;
  failure: unknown = null;
  readonly tail: LogTail;
  readonly store = { read: (query: StoreQuery) => this.read(query) } as LogStore;

  constructor(last: number) {
    this.tail = new LogTail(this, last);
  }

  async read(query: StoreQuery): Promise<StoreRows> {
    this.asked.push(query);
    await new Promise<void>((resolve) => this.waiting.push(resolve));
    if (this.error) throw this.error;
    const { after, upTo, limit } = query;
    const found = this.positions.filter((position) => position > after && position <= upTo).slice(0, limit);
    return { rows: found.map(row), scannedTo: found.length < limit ? upTo : (found.at(-1) as number) };
  }

  async answer(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) {
      this.waiting.shift()?.();
      await Promise.resolve();
    }
  }

  keepRecent(): boolean {
    return this.wanted;
  }

  grew(): void {
    this.grown.push(this.tail.last);
  }

  fail(error: unknown): void {
    this.failure = error;
  }

  recent(after: number): number[] {
    const found: number[] = [];
    for (let index = this.tail.recent.indexAfter(after); ; index++) {
      const next = this.tail.recent.at(index);
      if (!next) return found;
      found.push(next.position);
    }
  }
}

describe('the end of the log, as a process knows it', () => {
  it('own events after all that is known are there at once', () => {
    const log = new Log(10);
    log.tail.took([row(11), row(12)], 10);
    expect([log.tail.last, log.recent(10), log.asked.length]).toEqual([12, [11, 12], 0]);
    log.tail.took([row(13)], null);
    expect([log.tail.last, log.grown]).toEqual([13, [12, 13]]);
  });

  it('own events wait for those of others before them, which are read once', async () => {
    const log = new Log(10);
    log.positions.push(11, 12);
    log.tail.took([row(13)], 12);
    log.tail.took([row(14)], 13);
    expect([log.tail.last, log.tail.known]).toEqual([10, 14]);
    await log.answer();
    expect([log.tail.last, log.recent(10)]).toEqual([14, [11, 12, 13, 14]]);
    expect(log.asked.map(({ after, upTo }) => [after, upTo])).toEqual([[10, 12]]);
  });

  it('own events that were read with those of others come once', async () => {
    const log = new Log(10);
    log.positions.push(11, 12, 13);
    log.tail.heard(13);
    log.tail.took([row(12)], 11);
    await log.answer();
    expect([log.tail.last, log.recent(10)]).toEqual([13, [11, 12, 13]]);
  });

  it('positions without an event count as read', async () => {
    const log = new Log(10);
    log.positions.push(11);
    log.tail.took([row(20)], 19);
    await log.answer();
    expect([log.tail.last, log.recent(10)]).toEqual([20, [11, 20]]);
    expect(log.tail.recent.covers(10)).toBe(true);
  });

  it('what is heard twice, or late, asks for nothing', async () => {
    const log = new Log(10);
    log.tail.heard(10);
    log.tail.heard(3);
    expect(log.asked).toEqual([]);
    log.positions.push(11);
    log.tail.heard(11);
    log.tail.heard(11);
    await log.answer();
    expect(log.asked.length).toBe(1);
  });

  it('word that comes while it reads is read after', async () => {
    const log = new Log(10);
    log.positions.push(11);
    log.tail.heard(11);
    log.positions.push(12);
    log.tail.heard(12);
    await log.answer();
    expect([log.tail.last, log.recent(10)]).toEqual([12, [11, 12]]);
  });

  it('too far behind, or for nobody, it only notes how long the log is', async () => {
    const far = new Log(10);
    far.tail.heard(100_000);
    await far.answer();
    expect([far.tail.last, far.asked.length, far.tail.recent.covers(99_999)]).toEqual([100_000, 0, false]);
    const alone = new Log(10);
    alone.wanted = false;
    alone.tail.heard(12);
    await alone.answer();
    expect([alone.tail.last, alone.asked.length, alone.grown]).toEqual([12, 0, [12]]);
  });

  it('a read that fails is told, and the next word begins anew', async () => {
    const log = new Log(10);
    log.error = new Error('the database is gone');
    log.tail.heard(11);
    await log.answer();
    expect([log.failure, log.tail.last]).toEqual([log.error, 10]);
    log.error = null;
    log.positions.push(11, 12);
    log.tail.heard(12);
    await log.answer();
    expect([log.tail.last, log.recent(10)]).toEqual([12, [11, 12]]);
  });
});
