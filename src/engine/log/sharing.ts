import type { Clock } from '../../core/index.ts';
import type { StoredShare } from './share.ts';
import type { DeliveryRow } from './stored.ts';

/**
 * What a log store adds when several processes share its log. Each process is a *member*; a subscription's slots are
 * divided into *shares*, each held by one member or free. Only the member that holds a share may write its place and
 * its delivery rows, so a member that was declared dead can change nothing any more, however late it finds out: a
 * commit of its leases fails with `CARILLON_LEASE_LOST`, unapplied.
 *
 * Every call of a dead member fails so, too, but `join` and `renew`.
 *
 * A member is dead when it has not renewed its lease in time by the clock of the store, or when its connection is gone
 * and it has not come back. What it held is free from then on.
 */
export interface Sharing {
  /** This process among the members; 0 before it has joined. */
  readonly member: number;
  /** This process to those that answer its requests: stays the same when it becomes another member. */
  readonly asker: number;
  /** How long a lease lasts that is not renewed, in ms. */
  readonly leaseMs: number;
  /** Between two looks at what others have done, when nobody says that there is something new, in ms. */
  readonly lookMs: number;
  /** The clock that leases run by here: they are the store's, so a bus with a clock of its own does not move them. */
  readonly clock: Clock;

  /** Becomes a member. Holds nothing yet, whatever an earlier member of this process held. */
  join(): Promise<void>;
  /** Renews the lease; false when this member was declared dead. */
  renew(): Promise<boolean>;
  /** Declares dead who is. */
  bury(): Promise<void>;
  /** Leaves: what this member holds is free at once. */
  leave(): Promise<void>;

  /** Tells that this member runs the subscription, and the types it responds to when asked. */
  enlist(subscription: number, responds: readonly string[]): Promise<void>;
  /** It runs it no more: its shares of it are free. */
  delist(subscription: number): Promise<void>;
  /** Members that run the subscription, in an order that all of them see. `me` is this one. */
  runners(subscription: number): Promise<{ readonly me: number; readonly all: readonly number[] }>;

  /**
   * Takes free shares of so many slots at most. One with more slots is divided; both parts keep its place.
   * @param known numbers of the shares it holds
   */
  claim(subscription: number, slots: number, known: readonly number[]): Promise<readonly StoredShare[]>;
  /**
   * What of these slots has rows, and which of their keys are held back, as they stand now; what was told of them by
   * {@link takeChanges} from here on comes after that.
   */
  remains(subscription: number, slots: readonly number[]): Promise<Remains>;
  /**
   * Redrives or discards dead deliveries, whoever holds their slots, and leaves word for who does. Returns the
   * positions, ascending; fails with `CARILLON_DEAD_LETTER_UNKNOWN` when one that is named is not there.
   */
  changeDead(change: DeadChange): Promise<readonly number[]>;
  /** What others have changed of the rows this member holds. Each is told once. */
  takeChanges(): Promise<readonly RowChange[]>;

  look(): Promise<Sight>;
  /** Subscriptions that other members run, and that respond to this type. */
  responders(type: string): Promise<readonly string[]>;
  /** Answers to what this member has asked; each is told once. */
  takeAnswers(): Promise<readonly Answer[]>;

  /** Calls back when another member may have done something that concerns this one. A hint, not a promise. */
  onWake(listener: (wake: Wake) => void): void;
}

/** How things stand now, whoever has brought them there. */
export interface Sight {
  /** The log's last position. */
  readonly last: number;
  /** Retention has removed the positions up to this one; 0 for none. */
  readonly removed: number;
  /** When the earliest scheduled event is due. */
  readonly nextDueMs: number | null;
  /** Whether there may be something for {@link Sharing.takeChanges}. */
  readonly changes: boolean;
  /** Whether there is something for {@link Sharing.takeAnswers}. */
  readonly answers: boolean;
}

/** `log`: events were appended; `members`: somebody came, went, or freed something; the others: see the calls that take them. */
export type Wake = 'log' | 'members' | 'changes' | 'answers';

/**
 * Part of a commit: from then on this member holds one share of the subscription, of the slots that are kept and with
 * their place, or none; the others it held are merged into it. A free one is made of the slots it gives up.
 */
export interface Arrangement {
  readonly subscription: number;
  /** Numbers of the shares that it holds, as it knows them. */
  readonly held: readonly number[];
  readonly kept: Part | null;
  readonly freed: Part | null;
}

/** What a handler made of an event that another member asked about. */
export interface Answer {
  /** The process that asked: its {@link Sharing.asker}. */
  readonly asker: number;
  readonly source: string;
  readonly id: string;
  /** The handler's. */
  readonly subscription: string;
  /** JSON text, see answers.ts. */
  readonly answer: string;
}

/** Slots with their place in the log. */
export interface Part {
  readonly slots: readonly number[];
  readonly state: Uint8Array;
}

export interface Remains {
  /** Those that are `retrying`, `begun` or `acked`. */
  readonly rows: readonly DeliveryRow[];
  readonly keys: readonly HeldKeyCount[];
}

/** A key held back by dead deliveries, or with deliveries held on disk. */
export interface HeldKeyCount {
  readonly key: string;
  readonly held: number;
  readonly holding: number;
}

export interface DeadChange {
  readonly kind: 'redrive' | 'discard';
  readonly subscriptionName: string;
  readonly positions: readonly number[] | undefined;
  /** Replaces the event's data, for this subscription only. */
  readonly data: string | undefined;
  readonly nowMs: number;
}

export interface RowChange {
  readonly kind: DeadChange['kind'];
  readonly subscription: number;
  /** As it was when it was dead. */
  readonly row: Pick<DeliveryRow, 'slot' | 'position' | 'holds' | 'key'>;
  readonly atMs: number;
}
