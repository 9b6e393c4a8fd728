const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/;
const MEMBER = /^([a-z0-9][a-z0-9_\-*/@]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]$/;
const MEMBERS_MAX = 32;

/** Whether the text is a `traceparent` of W3C Trace Context, version 00, or a later one that begins in the same way. */
export function isTraceparent(text: string): boolean {
  const [, version, trace, parent, rest] = TRACEPARENT.exec(text) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && rest !== undefined)) return false;
  return !/^0+$/.test(trace as string) && !/^0+$/.test(parent as string);
}

/** Whether the text is a `tracestate` of W3C Trace Context: up to 32 members `key=value`, each key once; empty ones count not. */
export function isTracestate(text: string): boolean {
  const keys = new Set<string>();
  for (const padded of text.split(',')) {
    const member = padded.trim();
    if (member === '') continue;
    const key = MEMBER.exec(member)?.[1];
    if (key === undefined || keys.has(key)) return false;
    keys.add(key);
  }
  return keys.size <= MEMBERS_MAX;
}
