import type { SqlValue, StartFrom } from '../../core/index.ts';
import type {
  CommitResult,
  DeliveryQuery,
  DeliveryRow,
  EventRow,
  ScheduledRow,
  StateWrite,
  StoredSubscription,
  StoreOpened,
  StoreQuery,
  StoreRows,
} from '../../engine/log/index.ts';
import type { SqliteOptions } from './options.ts';
import type { PlainError } from './sqlite-errors.ts';

/** Cells of one event in {@link CommitMessage.cells}, in this order. */
export const CELLS_PER_EVENT = 7;
export type Cell = string | number | null | Uint8Array;

/**
 * A commit on its way to the thread. Events are one flat array of cells (id, source, type, subject, time, attributes,
 * data): cloned between threads at half the cost of as many objects.
 */
export interface CommitMessage {
  readonly generation: number;
  readonly recordedMs: number;
  readonly cells: readonly Cell[];
  /** Null when every event is a unit by itself, unconditional: nearly always. */
  readonly units: readonly UnitShape[] | null;
  readonly states: readonly Pick<StateWrite, 'subscription' | 'state'>[];
  readonly put: readonly DeliveryRow[];
  readonly remove: readonly { readonly subscription: number; readonly position: number }[];
  readonly schedule: readonly { readonly event: EventRow; readonly dueMs: number }[];
  readonly unschedule: readonly { readonly source: string; readonly id: string }[];
  /** Whether it carries events that may be refused for want of room. */
  readonly mayRefuse: boolean;
}

export interface UnitShape {
  readonly events: number;
  readonly expectedRevision: number | 'none' | undefined;
  readonly subject: string | null;
  readonly scheduled: number | undefined;
}

/** What the thread can be asked, and what it answers. */
export interface Calls {
  open: { readonly ask: SqliteOptions; readonly answer: StoreOpened };
  commit: { readonly ask: CommitMessage; readonly answer: CommitResult };
  read: { readonly ask: StoreQuery; readonly answer: StoreRows };
  positionAt: { readonly ask: number; readonly answer: number };
  openSubscription: {
    readonly ask: { readonly name: string; readonly from: StartFrom };
    readonly answer: StoredSubscription;
  };
  subscriptionNames: { readonly ask: null; readonly answer: readonly string[] };
  readDeliveries: { readonly ask: DeliveryQuery; readonly answer: readonly DeliveryRow[] };
  heldKeys: {
    readonly ask: number;
    readonly answer: readonly { readonly key: string; readonly held: number; readonly holding: number }[];
  };
  deliveryCounts: { readonly ask: number; readonly answer: { readonly held: number; readonly dead: number } };
  readDue: {
    readonly ask: { readonly ms: number; readonly limit: number };
    readonly answer: { readonly due: readonly ScheduledRow[]; readonly nextMs: number | null };
  };
  begin: { readonly ask: null; readonly answer: null };
  run: { readonly ask: Statement; readonly answer: { readonly changes: number } };
  all: { readonly ask: Statement; readonly answer: readonly Readonly<Record<string, SqlValue>>[] };
  commitTransaction: { readonly ask: CommitMessage; readonly answer: CommitResult };
  rollback: { readonly ask: null; readonly answer: null };
  close: { readonly ask: null; readonly answer: null };
}

export interface Statement {
  readonly sql: string;
  readonly parameters: readonly SqlValue[];
}

export interface CallMessage<Name extends keyof Calls = keyof Calls> {
  readonly no: number;
  readonly name: Name;
  readonly ask: Calls[Name]['ask'];
}

export type AnswerMessage =
  | { readonly no: number; readonly answer: unknown }
  | { readonly no: number; readonly error: PlainError };
