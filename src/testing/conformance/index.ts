import { g1 } from './g1-durable.ts';
import { g10 } from './g10-schedule.ts';
import { g11 } from './g11-request.ts';
import { g12 } from './g12-clean-stop.ts';
import { g13 } from './g13-backpressure.ts';
import { g15 } from './g15-same-everywhere.ts';
import { g2 } from './g2-at-least-once.ts';
import { g3 } from './g3-order.ts';
import { g4 } from './g4-once.ts';
import { g5 } from './g5-all-or-nothing.ts';
import { g6 } from './g6-never-missed.ts';
import { g7 } from './g7-dead-letters.ts';
import { g8 } from './g8-sync.ts';
import type { ConformanceCase } from './kit.ts';

export {
  runCase,
  type ApplicationTransaction,
  type ConformanceCase,
  type EnginePlace,
  type EngineUnderTest,
  type Kit,
} from './kit.ts';

/** A guarantee of the design, and the cases that stand for it. */
export interface Guarantee {
  readonly id: string;
  readonly name: string;
  /** None while the guarantee is still to come. */
  readonly cases: readonly ConformanceCase[];
}

/** All guarantees, in order. */
export const guarantees: readonly Guarantee[] = [
  { id: 'G1', name: 'durable', cases: g1 },
  { id: 'G2', name: 'at least once', cases: g2 },
  { id: 'G3', name: 'order by key', cases: g3 },
  { id: 'G4', name: 'published once', cases: g4 },
  { id: 'G5', name: 'all or nothing', cases: g5 },
  { id: 'G6', name: 'never missed', cases: g6 },
  { id: 'G7', name: 'dead letters', cases: g7 },
  { id: 'G8', name: 'sync handlers', cases: g8 },
  { id: 'G9', name: 'replay', cases: [] },
  { id: 'G10', name: 'schedule', cases: g10 },
  { id: 'G11', name: 'request', cases: g11 },
  { id: 'G12', name: 'clean stop', cases: g12 },
  { id: 'G13', name: 'backpressure', cases: g13 },
  { id: 'G14', name: 'explained', cases: [] },
  { id: 'G15', name: 'same everywhere', cases: g15 },
];
