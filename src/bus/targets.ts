import { compilePattern, hasWildcard, type AnyEventDefinition, type Target } from '../core/index.ts';

/** The types and patterns a target names. */
export function patternsOf(target: Target): readonly string[] {
  if (typeof target === 'string') return [target];
  return Array.isArray(target)
    ? (target as readonly AnyEventDefinition[]).map((definition) => definition.type)
    : [(target as AnyEventDefinition).type];
}

/** Whether a target asks for a type. */
export function typeMatcher(target: Target): (type: string) => boolean {
  const patterns = patternsOf(target);
  const [only] = patterns;
  if (patterns.length === 1 && only !== undefined && !hasWildcard(only)) return (type) => type === only;
  const exact = new Set(patterns.filter((pattern) => !hasWildcard(pattern)));
  const wildcards = patterns.filter(hasWildcard).map(compilePattern);
  if (wildcards.length === 0) return (type) => exact.has(type);
  return (type) => exact.has(type) || wildcards.some((matches) => matches(type));
}

/** The types that a target names itself, rather than by a pattern. */
export function typesNamed(target: Target): readonly string[] {
  return patternsOf(target).filter((pattern) => !hasWildcard(pattern));
}

/** A target as people read it. */
export function targetText(target: Target): string {
  return patternsOf(target).join(', ');
}
