import { carillonError, type DeadLetter, type DeadLetterSelection } from '../../core/index.ts';
import type { EngineDeadLetters } from '../engine.ts';
import { eventOf } from './rows.ts';
import type { DeadChange, Sharing } from './sharing.ts';
import type { LogStore } from './store.ts';
import type { DeliveryRow } from './stored.ts';
import type { LogSubscription } from './subscription.ts';
import type { LogWriter } from './writer.ts';

/** Dead letters looked at and redriven or discarded at a time. */
const PAGE = 500;

/** The dead letters of a log engine: delivery rows in the state `dead`, whether their subscription runs or not. */
export class LogDeadLetters implements EngineDeadLetters {
  readonly store: LogStore;
  readonly opened: () => LogWriter;
  readonly running: ReadonlyMap<string, LogSubscription>;
  /** Takes up what the store has changed, where the log is shared. */
  readonly changesTaken: () => Promise<void>;
  /** The end of the last change: they are made one after the other, so that no two find the same letter. */
  changed: Promise<unknown> = Promise.resolve();

  constructor(
    store: LogStore,
    opened: () => LogWriter,
    running: ReadonlyMap<string, LogSubscription>,
    changesTaken: () => Promise<void>,
  ) {
    this.store = store;
    this.opened = opened;
    this.running = running;
    this.changesTaken = changesTaken;
  }

  async list(query: {
    readonly subscription: string | undefined;
    readonly after: number;
    readonly limit: number;
  }): Promise<readonly DeadLetter[]> {
    await this.opened().commitNow();
    const rows = await this.store.readDeliveries({
      subscriptionName: query.subscription,
      states: ['dead'],
      after: query.after,
      limit: query.limit,
      withEvents: true,
    });
    return rows.flatMap(letterOf);
  }

  async get(subscription: string, position: number): Promise<DeadLetter | null> {
    await this.opened().commitNow();
    const rows = await this.rows(subscription, [position], 0, true);
    return rows.flatMap(letterOf)[0] ?? null;
  }

  redrive(selection: DeadLetterSelection, data: string | undefined): Promise<readonly number[]> {
    const writer = this.opened();
    const nowMs = writer.clock.now();
    if (writer.shared) return this.changeShared('redrive', selection, data, nowMs);
    return this.each(selection, (row) => {
      const redriven: DeliveryRow = {
        ...row,
        state: 'retrying',
        attempts: 0,
        atMs: nowMs,
        holds: false,
        data: data ?? row.data,
      };
      writer.putRow(redriven);
      this.running.get(selection.subscription)?.redriven(row, nowMs);
    });
  }

  discard(selection: DeadLetterSelection): Promise<readonly number[]> {
    const writer = this.opened();
    if (writer.shared) return this.changeShared('discard', selection, undefined, writer.clock.now());
    return this.each(selection, (row) => {
      writer.removeRow(row.subscription, row.position);
      this.running.get(selection.subscription)?.discarded(row);
    });
  }

  /** The slots of the selected may be held by any process: the store changes them, and leaves word. */
  async changeShared(
    kind: DeadChange['kind'],
    { subscription, positions }: DeadLetterSelection,
    data: string | undefined,
    nowMs: number,
  ): Promise<readonly number[]> {
    await this.opened().commitNow();
    const change = { kind, subscriptionName: subscription, positions, data, nowMs };
    const changed = await (this.store.sharing as Sharing).changeDead(change);
    await this.changesTaken();
    return changed;
  }

  /** Applies a change to each of the selected, and resolves once all are durable. */
  each(selection: DeadLetterSelection, change: (row: DeliveryRow) => void): Promise<readonly number[]> {
    const changing = this.changed.then(() => this.eachPage(selection, change));
    this.changed = changing.catch(() => undefined);
    return changing;
  }

  async eachPage(selection: DeadLetterSelection, change: (row: DeliveryRow) => void): Promise<readonly number[]> {
    const writer = this.opened();
    const changed: number[] = [];
    await writer.commitNow();
    for (let after = 0; ; ) {
      const rows = await this.rows(selection.subscription, selection.positions, after, false);
      if (after === 0 && selection.positions) assertAllThere(selection, rows);
      for (const row of rows) {
        change(row);
        changed.push(row.position);
        after = row.position;
      }
      await writer.commitNow();
      if (rows.length < PAGE || selection.positions) return changed;
    }
  }

  rows(
    subscriptionName: string,
    positions: readonly number[] | undefined,
    after: number,
    withEvents: boolean,
  ): Promise<readonly DeliveryRow[]> {
    const limit = positions?.length ?? PAGE;
    const which = positions ? { positions } : { after };
    return this.store.readDeliveries({ subscriptionName, states: ['dead'], ...which, limit, withEvents });
  }
}

function assertAllThere(selection: DeadLetterSelection, rows: readonly DeliveryRow[]): void {
  const found = new Set(rows.map((row) => row.position));
  const missing = selection.positions?.filter((position) => !found.has(position)) ?? [];
  if (missing.length === 0) return;
  throw carillonError(
    'CARILLON_DEAD_LETTER_UNKNOWN',
    `subscription "${selection.subscription}" has no dead letter at position ${missing.join(', ')}`,
    { subscription: selection.subscription, positions: missing },
  );
}

/** None when retention has taken the event. */
function letterOf(row: DeliveryRow): DeadLetter[] {
  if (!row.event) return [];
  return [
    {
      subscription: row.subscriptionName ?? '',
      position: row.position,
      key: row.key,
      deadMs: row.atMs,
      attemptCount: row.attempts,
      attempts: row.records,
      holds: row.holds,
      event: eventOf(row.event, row.data ?? row.event.data),
    },
  ];
}
