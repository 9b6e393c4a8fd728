const DAY_MINUTES = 24 * 60;
/** The Gregorian calendar repeats after 400 years. Date.UTC takes years below 100 for 19xx, so we compute a cycle later. */
const CYCLE_MS = 146_097 * DAY_MINUTES * 60_000;

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

// Character by character: a pattern with groups costs several times as much, and each event from outside has a time.

/** The number that `count` digits say; NaN where another character stands, and NaN passes no comparison. */
function digits(text: string, at: number, count: number): number {
  let value = 0;
  for (let index = at; index < at + count; index++) {
    const digit = text.charCodeAt(index) - 48;
    if (!(digit >= 0 && digit <= 9)) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}

const endOfDigits = (text: string, at: number): number => {
  let end = at;
  while (digits(text, end, 1) >= 0) end++;
  return end;
};

/** Minutes east of UTC, from the end of a timestamp; NaN for what is no offset. */
function offsetMinutes(text: string, at: number): number {
  const sign = text[at];
  if (sign === 'Z' || sign === 'z') return text.length === at + 1 ? 0 : Number.NaN;
  if ((sign !== '+' && sign !== '-') || text.length !== at + 6 || text[at + 3] !== ':') return Number.NaN;
  const hours = digits(text, at + 1, 2);
  const minutes = digits(text, at + 4, 2);
  if (!(hours <= 23 && minutes <= 59)) return Number.NaN;
  return (sign === '-' ? -1 : 1) * (hours * 60 + minutes);
}

const isSeparated = (text: string): boolean =>
  text[4] === '-' && text[7] === '-' && (text[10] === 'T' || text[10] === 't') && text[13] === ':' && text[16] === ':';

/**
 * The moment an RFC 3339 timestamp names, in whole ms since the Unix epoch (a finer fraction is cut off); undefined
 * for any other text. Exact: leap days, offsets to 23:59, a fraction of any length, `t` and `z` in either case. Second
 * 60 is allowed where a leap second can stand, at 23:59 UTC, and names the moment that follows it; Date.parse knows none.
 */
export function timestampMs(text: string): number | undefined {
  if (!isSeparated(text)) return undefined;
  const year = digits(text, 0, 4);
  const month = digits(text, 5, 2);
  const day = digits(text, 8, 2);
  const hour = digits(text, 11, 2);
  const minute = digits(text, 14, 2);
  const second = digits(text, 17, 2);
  if (!(year >= 0 && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month))) return undefined;
  if (!(hour <= 23 && minute <= 59 && second <= 60)) return undefined;
  const end = text[19] === '.' ? endOfDigits(text, 20) : 19;
  if (end === 20) return undefined;
  const offset = offsetMinutes(text, end);
  if (Number.isNaN(offset)) return undefined;
  const minuteUtc = (hour * 60 + minute - offset + DAY_MINUTES) % DAY_MINUTES;
  if (second === 60 && minuteUtc !== DAY_MINUTES - 1) return undefined;
  const fraction = second === 60 || end === 19 ? 0 : digits(text, 20, Math.min(3, end - 20));
  const milliseconds = end === 21 ? fraction * 100 : end === 22 ? fraction * 10 : fraction;
  return Date.UTC(year + 400, month - 1, day, hour, minute - offset, second, milliseconds) - CYCLE_MS;
}
