import { isCarillonError, type CarillonError, type ErrorCode } from '../../core/index.ts';

// Assertions of the suite's own, so that it runs under any test runner.

/** JSON text with sorted names: equal for equal values. `undefined` counts as absent, bytes as their numbers. */
function canonical(value: unknown): string {
  return (
    JSON.stringify(
      value,
      (_name, inner: unknown) => {
        if (inner instanceof Uint8Array) return { bytes: [...inner] };
        if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
        return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
      },
      1,
    ) ?? 'undefined'
  );
}

/** Asserts that a condition of the contract holds. */
export function holds(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`conformance: ${what}`);
}

/** Asserts deep equality. */
export function same(actual: unknown, expected: unknown, what: string): void {
  const found = canonical(actual);
  const wanted = canonical(expected);
  holds(found === wanted, `${what}\nexpected: ${wanted}\n     got: ${found}`);
}

/** Asserts that it fails with this code of the catalogue, and returns the error. */
export async function refused(code: ErrorCode, act: () => unknown, what: string): Promise<CarillonError> {
  let result: unknown;
  try {
    result = await act();
  } catch (error) {
    if (isCarillonError(error, code)) return error;
    throw new Error(`conformance: ${what}: expected ${code}, got ${String(error)}`, { cause: error });
  }
  throw new Error(`conformance: ${what}: expected ${code}, but it went through with ${canonical(result)}`);
}
