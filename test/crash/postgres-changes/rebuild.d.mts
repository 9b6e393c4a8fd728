import type { Event } from '../../../src/core/index.ts';

export class Rebuilt {
  readonly events: number;
  readonly twice: number;
  readonly snapshots: number;
  readonly impossible: readonly string[];
  take(event: Event): void;
  rowsOf(table: string): Map<string, number>;
}

export function textOf(row: object): string;

export function compare(
  rebuilt: ReadonlyMap<string, number>,
  real: ReadonlyMap<string, number>,
): { readonly lost: number; readonly phantom: number };
