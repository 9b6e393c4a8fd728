import type { CommitResult, EventRow, RefusedUnit } from '../../engine/log/index.ts';
import { Appender } from './append.ts';
import type { Database, Statement } from './binding.ts';
import { CELLS_PER_EVENT, type CommitMessage, type UnitShape } from './messages.ts';
import { stateNumbers } from './rows.ts';
import { Subjects } from './subjects.ts';

/** Writes what a commit consists of, within the transaction in hand. */
export class CommitWriter {
  readonly appender: Appender;
  readonly subjects: Subjects;
  readonly setState: Statement;
  readonly putDelivery: Statement;
  readonly removeDelivery: Statement;
  readonly addScheduled: Statement;
  readonly findScheduled: Statement;
  readonly takeScheduled: Statement;
  readonly removeScheduled: Statement;

  constructor(database: Database) {
    this.appender = new Appender(database);
    this.subjects = new Subjects(database);
    this.setState = database.prepare('UPDATE carillon_subscriptions SET state = ? WHERE no = ?');
    this.putDelivery = database.prepare(
      `INSERT OR REPLACE INTO carillon_deliveries
       (subscription, position, state, key, attempts, at, holds, records, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.removeDelivery = database.prepare('DELETE FROM carillon_deliveries WHERE subscription = ? AND position = ?');
    this.addScheduled = database.prepare(
      `INSERT INTO carillon_scheduled (due, id, source, type, subject, time, attributes, data)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (source, id) DO NOTHING`,
    );
    this.findScheduled = database.prepare('SELECT due FROM carillon_scheduled WHERE source = ? AND id = ?');
    this.takeScheduled = database.prepare('DELETE FROM carillon_scheduled WHERE no = ?');
    this.removeScheduled = database.prepare('DELETE FROM carillon_scheduled WHERE source = ? AND id = ?');
  }

  write(message: CommitMessage): CommitResult {
    const { cells, units, recordedMs } = message;
    const positions = new Float64Array(cells.length / CELLS_PER_EVENT);
    const refused: RefusedUnit[] = [];
    if (units === null) this.appender.append(cells, 0, positions.length, recordedMs, positions);
    else this.writeUnits(message, units, positions, refused);
    if (positions.length > 0) this.subjects.keepUp(Math.abs(positions.at(-1) as number));
    for (const { subscription, state } of message.states) this.setState.run(state, subscription);
    for (const row of message.put) {
      this.putDelivery.run(
        row.subscription,
        row.position,
        stateNumbers[row.state],
        row.key,
        row.attempts,
        row.atMs,
        row.holds ? 1 : 0,
        JSON.stringify(row.records),
        row.data,
      );
    }
    for (const { subscription, position } of message.remove) this.removeDelivery.run(subscription, position);
    return {
      positions,
      amidOthers: null,
      refused,
      scheduled: message.schedule.map(({ event, dueMs }) => this.schedule(event, dueMs)),
      unscheduled: message.unschedule.map(({ source, id }) => Number(this.removeScheduled.run(source, id).changes) > 0),
      arranged: [],
    };
  }

  writeUnits(
    { cells, recordedMs }: CommitMessage,
    units: readonly UnitShape[],
    positions: Float64Array,
    refused: RefusedUnit[],
  ): void {
    let at = 0;
    units.forEach((unit, index) => {
      const reason = this.refusal(unit, cells, at);
      if (reason) refused.push({ unit: index, reason });
      else this.appender.append(cells, at, unit.events, recordedMs, positions);
      at += unit.events;
    });
  }

  refusal(unit: UnitShape, cells: CommitMessage['cells'], at: number): RefusedUnit['reason'] | null {
    if (unit.scheduled !== undefined) {
      return Number(this.takeScheduled.run(unit.scheduled).changes) > 0 ? null : { kind: 'cancelled' };
    }
    if (unit.expectedRevision === undefined) return null;
    // A repeated publish finds itself: whatever came after it, it went through.
    if (this.appender.find(cells, at) !== null) return null;
    const actual = this.subjects.revision(unit.subject ?? '');
    const expected = unit.expectedRevision === 'none' ? 0 : unit.expectedRevision;
    return actual === expected ? null : { kind: 'revision', actual };
  }

  schedule(event: EventRow, dueMs: number): CommitResult['scheduled'][number] {
    const position = this.appender.find([event.id, event.source], 0);
    if (position !== null) return { position, dueMs: 0 };
    const { id, source, type, subject, time, attributes, data } = event;
    const { changes } = this.addScheduled.run(dueMs, id, source, type, subject, time, attributes, data);
    if (Number(changes) === 1) return null;
    const { due } = this.findScheduled.get(source, id) as { due: number };
    return { position: 0, dueMs: due };
  }
}
