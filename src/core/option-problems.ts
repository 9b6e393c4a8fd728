/**
 * What is wrong with a set of options, gathered: whoever mends a configuration wants to hear of everything at once.
 * Options are looked at in a fixed order, so that the outcome does not depend on how they were written down.
 */
export interface OptionProblems {
  readonly found: readonly OptionProblem[];
  add(option: string, problem: string): void;
  /** Reports the members of `given` that are not among `known`, with the known name they resemble. */
  unknown(given: object, known: readonly string[], prefix?: string): void;
  /** The value when it is a whole number within bounds, else undefined, reported unless it is absent. */
  whole(option: string, value: unknown, min: number, max?: number): number | undefined;
  /** The value when it is one of `choices`, else undefined, reported unless it is absent. */
  choice<T extends string>(option: string, value: unknown, choices: readonly T[]): T | undefined;
  /** The value when it is a plain object, else undefined, reported unless it is absent. */
  object(option: string, value: unknown): Readonly<Record<string, unknown>> | undefined;
}

export interface OptionProblem {
  readonly option: string;
  readonly problem: string;
}

/** Whole numbers go up to here; more is surely a mistake, and every engine can store it. */
const wholeMax = Number.MAX_SAFE_INTEGER;

/** Any value, short enough for a message. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  return typeof value === 'function' ? 'a function' : String(value);
}

export function collectProblems(): OptionProblems {
  const found: OptionProblem[] = [];
  const add = (option: string, problem: string): void => void found.push({ option, problem });
  return {
    found,
    add,
    unknown(given, known, prefix = '') {
      const strange = Object.keys(given).filter((name) => !known.includes(name));
      for (const name of strange.toSorted()) {
        const near = nearest(name, known);
        add(`${prefix}${name}`, `is no option${near === undefined ? '' : `; did you mean "${prefix}${near}"?`}`);
      }
    },
    whole(option, value, min, max = wholeMax) {
      if (value === undefined) return undefined;
      if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
      const bounds = max === wholeMax ? `from ${min}` : `from ${min} to ${max}`;
      add(option, `must be a whole number ${bounds}, not ${shown(value)}`);
      return undefined;
    },
    choice(option, value, choices) {
      if (value === undefined) return undefined;
      const choice = choices.find((one) => one === value);
      if (choice === undefined) {
        add(option, `must be ${choices.map((one) => `"${one}"`).join(' or ')}, not ${shown(value)}`);
      }
      return choice;
    },
    object(option, value) {
      if (value === undefined) return undefined;
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
      add(option, `must be an object, not ${shown(value)}`);
      return undefined;
    },
  };
}

/** The known name that differs least from `name`, if it differs little. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  // Names of options are short; what is longer resembles none, and is not worth comparing.
  if (name.length > 40) return undefined;
  let best: string | undefined;
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const [left, right] = [name.toLowerCase(), candidate.toLowerCase()];
    // `attempts` means `attemptsMax`, however many letters are missing.
    const distance = left.length > 3 && right.startsWith(left) ? 1 : editDistance(left, right);
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** Levenshtein's distance, row by row. */
function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const change = (row[j - 1] as number) + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[right.length] as number;
}
