import type { Plan } from './plan.mjs';

export interface Violation {
  readonly fault: 'lost' | 'phantom' | 'inverted' | 'duplicatesBeyondInFlight' | 'broken';
  readonly rule: string;
}

export interface Verdict {
  readonly sent: number;
  readonly acked: number;
  readonly delivered: number;
  readonly lost: number;
  readonly phantom: number;
  readonly inverted: number;
  readonly duplicatesBeyondInFlight: number;
  readonly broken: number;
  readonly violations: readonly Violation[];
}

export function check(
  records: readonly { readonly op: string; readonly [field: string]: unknown }[],
  plans: readonly Plan[],
): Verdict;
