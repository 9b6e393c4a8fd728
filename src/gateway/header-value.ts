import { carillonError } from '../core/index.ts';

/**
 * An attribute's value as a header carries it (CloudEvents HTTP binding 1.0.2, section 3.1.3.2): quoted strings are
 * unquoted, then one round of percent-decoding. Fails with `CARILLON_ATTRIBUTE_INVALID`, naming the attribute.
 */
export function decodeHeaderValue(value: string, attribute: string): string {
  if (!PRINTABLE.test(value)) {
    refuse(attribute, 'has a character that is not printable ASCII; percent-encode it as UTF-8');
  }
  const unquoted = value.includes('"') ? unquote(value, attribute) : value;
  if (!unquoted.includes('%')) return unquoted;
  if (BROKEN_PERCENT.test(unquoted)) refuse(attribute, 'has a "%" without two hexadecimal digits after it');
  try {
    // Refuses overlong forms, surrogates and everything else that is not UTF-8, as the binding demands.
    return decodeURIComponent(unquoted);
  } catch {
    return refuse(attribute, 'is percent-encoded, but not as UTF-8');
  }
}

const PRINTABLE = /^[\u0020-\u007e]*$/;
const BROKEN_PERCENT = /%(?![0-9a-fA-F]{2})/;

/** Quoted parts lose their quotes, and backslash escapes within them their backslash (RFC 7230, section 3.2.6). */
function unquote(value: string, attribute: string): string {
  let result = '';
  let quoted = false;
  for (let index = 0; index < value.length; index++) {
    const character = value.charAt(index);
    if (character === '"') quoted = !quoted;
    else if (character === '\\' && quoted) result += value.charAt(++index);
    else result += character;
  }
  if (quoted) refuse(attribute, 'has a double quote that is not closed');
  return result;
}

function refuse(attribute: string, why: string): never {
  throw carillonError('CARILLON_ATTRIBUTE_INVALID', `the header ce-${attribute} ${why}`, {
    attribute,
    header: `ce-${attribute}`,
  });
}
