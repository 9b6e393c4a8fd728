import {
  carillonError,
  type Page,
  type Published,
  type StoredEvent,
  type TransactionClient,
} from '../../core/index.ts';
import type {
  AppendUnit,
  Capabilities,
  EncodedEvent,
  Engine,
  EngineDeadLetters,
  EngineHost,
  EngineQuery,
  EngineSubscription,
  SubscriptionSpec,
} from '../engine.ts';
import { LogDeadLetters } from './dead-letters.ts';
import { Membership } from './membership.ts';
import { eventOf, rowOf } from './rows.ts';
import { Schedule } from './schedule.ts';
import type { LogStore } from './store.ts';
import type { EventRow } from './stored.ts';
import { LogSubscription } from './subscription.ts';
import { LogWriter } from './writer.ts';

/**
 * The port on top of a {@link LogStore}: one group-committing writer, any number of subscriptions, a schedule, and where
 * the store is shared, the standing of this process among the others.
 * States: `new` → `open` → `closed`; a failure while open makes every later call fail with `CARILLON_ENGINE_FAILED`.
 */
class LogEngine implements Engine {
  readonly name: string;
  readonly capabilities: Capabilities;
  readonly store: LogStore;
  writer: LogWriter | null = null;
  schedules: Schedule | null = null;
  membership: Membership | null = null;
  first = 0;
  closing: Promise<void> | null = null;
  subscriptions = new Map<string, LogSubscription>();
  readonly deadLetters: EngineDeadLetters;

  constructor(store: LogStore) {
    this.store = store;
    this.name = store.name;
    this.capabilities = { ...store.capabilities, shared: store.sharing !== null, outbox: store.outbox !== null };
    const changesTaken = async (): Promise<void> => this.membership?.changesTaken();
    this.deadLetters = new LogDeadLetters(store, () => this.opened(), this.subscriptions, changesTaken);
  }

  async open(host: EngineHost): Promise<void> {
    if (this.writer) throw carillonError('CARILLON_OPTION_INVALID', `this ${this.name} engine was opened before`);
    const opened = await this.store.open({ ...host, onFailure: (error) => this.writer?.fail(error) });
    this.first = opened.first;
    this.writer = new LogWriter(this.store, host, opened.last, opened.lastRecordedMs);
    this.schedules = new Schedule(this.writer, opened.nextDueMs);
    const { sharing } = this.store;
    if (!sharing) return;
    this.membership = new Membership(sharing, this.writer);
    this.membership.onDue = (dueMs) => this.schedules?.expect(dueMs);
    this.membership.onAnswer = (answered) => host.onAnswer(answered);
    await this.membership.start();
  }

  opened(): LogWriter {
    const { writer } = this;
    if (!writer || this.closing) throw carillonError('CARILLON_STOPPED', `the ${this.name} engine is not open`);
    return writer;
  }

  appendOne(encoded: EncodedEvent, expectedRevision: number | 'none' | undefined): Promise<Published> {
    return this.opened().appendOne(encoded, expectedRevision);
  }

  append(unit: AppendUnit): Promise<readonly Published[]> {
    return this.opened().append(unit);
  }

  async schedule(entry: EncodedEvent, dueMs: number): Promise<Published> {
    const writer = this.opened();
    const { fresh: _published, ...row } = rowOf(entry, writer.shared);
    const published = await writer.addSchedule(row, dueMs);
    if (published.scheduledMs !== null) this.schedules?.expect(published.scheduledMs);
    return published;
  }

  async appendWithin(tx: TransactionClient, events: readonly EncodedEvent[], dueMs: number | null): Promise<void> {
    const { shared } = this.opened();
    const { outbox } = this.store;
    if (!outbox) {
      const message = `the ${this.name} engine cannot publish within a transaction of the application`;
      throw carillonError('CARILLON_UNSUPPORTED', message, { capability: 'outbox' });
    }
    const rows = events.map((event) => rowOf(event, shared));
    await outbox.append(tx, rows, dueMs);
    this.membership?.lookEagerly();
  }

  async cancelScheduled(source: string, id: string): Promise<boolean> {
    return this.opened().removeSchedule(source, id);
  }

  async ends(): Promise<{ readonly first: number; readonly last: number }> {
    const { tail } = this.opened();
    await this.membership?.seen();
    const last = tail.known;
    if (this.first <= tail.removed && last > 0) {
      const { rows } = await this.store.read({ after: 0, upTo: last, limit: 1, scanMax: Number.MAX_SAFE_INTEGER });
      this.first = rows[0]?.position ?? 0;
    }
    return { first: this.first, last };
  }

  onAppend(listener: (last: number) => void): () => void {
    const { appendListeners } = this.opened();
    appendListeners.add(listener);
    return () => appendListeners.delete(listener);
  }

  async readPage(query: EngineQuery): Promise<Page> {
    const writer = this.opened();
    await this.membership?.seen();
    assertThere(query.after, writer.tail.removed);
    const { scanMax } = writer.limits;
    const last = Math.min(query.upTo ?? Number.MAX_SAFE_INTEGER, writer.tail.known);
    const start = query.sinceMs === undefined ? 0 : (await this.store.positionAt(query.sinceMs)) - 1;
    const end = query.untilMs === undefined ? last : Math.min(last, (await this.store.positionAt(query.untilMs)) - 1);
    const events: StoredEvent[] = [];
    let after = Math.max(query.after, start);
    let looked = 0;
    while (after < end && events.length < query.limit && looked < scanMax) {
      const limit = query.limit - events.length;
      const page = await this.store.read({
        after,
        upTo: end,
        type: query.type,
        subject: query.subject,
        limit,
        scanMax: scanMax - looked,
      });
      looked += Math.max(1, page.scannedTo - after);
      after = page.scannedTo;
      for (const row of page.rows) {
        const stored = storedOf(row);
        if (!query.matches || query.matches(stored.event)) events.push(stored);
      }
    }
    return { events, next: after < end ? after : null };
  }

  async subscribe(spec: SubscriptionSpec): Promise<EngineSubscription> {
    const writer = this.opened();
    if (this.subscriptions.has(spec.name)) {
      throw carillonError('CARILLON_SUBSCRIPTION_CONFLICT', `the subscription "${spec.name}" is running already`, {
        subscription: spec.name,
      });
    }
    const stored = await writer.alone(() => this.store.openSubscription(spec.name, spec.from));
    const subscription: LogSubscription = new LogSubscription(writer, spec, stored, () => {
      this.subscriptions.delete(spec.name);
      this.membership?.remove(subscription);
    });
    this.subscriptions.set(spec.name, subscription);
    try {
      if (this.membership) {
        writer.sources.add(subscription);
        await this.membership.add(subscription, spec.responds);
      } else await subscription.recover(stored.state);
    } catch (error) {
      writer.sources.delete(subscription);
      this.subscriptions.delete(spec.name);
      this.membership?.remove(subscription);
      throw error;
    }
    return subscription;
  }

  subscriptionNames(): Promise<readonly string[]> {
    this.opened();
    return this.store.subscriptionNames();
  }

  async respondersElsewhere(type: string): Promise<readonly string[]> {
    this.opened();
    return this.store.sharing?.responders(type) ?? [];
  }

  async flush(): Promise<void> {
    await this.opened().commitNow();
  }

  close(): Promise<void> {
    this.closing ??= this.shut();
    return this.closing;
  }

  async shut(): Promise<void> {
    this.schedules?.stop();
    this.store.prepareToClose?.();
    const { writer } = this;
    // A full storage must not keep the engine open: what could not be written is handed out again at the next start.
    const closed = await Promise.allSettled(
      [...this.subscriptions.values()].map((subscription) => subscription.close()),
    );
    try {
      if (writer && !writer.failure) await writer.commitOnce();
      await this.membership?.stop();
      for (const result of closed) if (result.status === 'rejected') throw result.reason;
    } finally {
      writer?.end();
      await this.store.close();
    }
  }
}

function storedOf(row: EventRow): StoredEvent {
  return { position: row.position, recordedMs: row.recordedMs, event: eventOf(row) };
}

/** Who has read something goes on behind it, or hears of the gap; who begins at the beginning takes what there is. */
function assertThere(after: number, removed: number): void {
  if (after === 0 || after >= removed) return;
  const message = `retention has removed the positions up to ${removed}, and what comes after ${after} is asked for; start at position ${removed + 1}`;
  throw carillonError('CARILLON_GAP', message, { first: removed + 1 });
}

/** An engine on a log store: what `memory` and `sqlite` are made of. */
export function logEngine(store: LogStore): Engine {
  return new LogEngine(store);
}
