export interface Trial {
  readonly load: string;
  readonly transactions: number;
  readonly events: number;
  readonly snapshots: number;
  readonly duplicates: number;
  readonly where: Readonly<Record<string, number>>;
  readonly rows: Readonly<Record<string, number>>;
  readonly lost: number;
  readonly phantom: number;
  readonly twice: number;
  readonly impossible: number;
  readonly examples: readonly string[];
}

export function trial(options: {
  readonly dist: string;
  readonly seconds: number;
  readonly kills: number;
  readonly seed: number;
  readonly scale?: number;
  readonly sync?: 'full' | 'off';
  readonly say?: (text: string) => void;
}): Promise<Trial>;

export function isBad(trial: Trial): boolean;
