/** The characters of RFC 3986 by the part of a URI in which they may stand, beside percent-encoded ones. */
const unreservedOrDelimiter = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=";
const hostCharacters = new Set(unreservedOrDelimiter);
const userCharacters = new Set(`${unreservedOrDelimiter}:`);
const pathCharacters = new Set(`${unreservedOrDelimiter}:@/`);
const queryCharacters = new Set(`${unreservedOrDelimiter}:@/?`);

/** RFC 3986, appendix B. Splits any text; the parts are looked at afterwards. */
const PARTS = /^(?:([^:/?#]+):)?(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/s;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*$/;
const FUTURE_ADDRESS = /^[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+$/;
const GROUP = /^[0-9A-Fa-f]{1,4}$/;
const OCTET = '(?:\\d|[1-9]\\d|1\\d\\d|2[0-4]\\d|25[0-5])';
const IPV4_TAIL = new RegExp(`(^|:)${OCTET}(?:\\.${OCTET}){3}$`);

const isHex = (code: number): boolean =>
  (code >= 48 && code <= 57) || (code >= 65 && code <= 70) || (code >= 97 && code <= 102);

/** A scan, not a pattern: `(?:[...]|%..)*` keeps a backtracking entry for each character of a long text. */
function consistsOf(text: string, allowed: ReadonlySet<string>): boolean {
  for (let at = 0; at < text.length; at++) {
    const character = text[at] as string;
    if (allowed.has(character)) continue;
    if (character !== '%' || !isHex(text.charCodeAt(at + 1)) || !isHex(text.charCodeAt(at + 2))) return false;
    at += 2;
  }
  return true;
}

function isIpv6(text: string): boolean {
  const halves = text.replace(IPV4_TAIL, '$10:0').split('::');
  if (halves.length > 2) return false;
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')));
  if (!groups.every((group) => GROUP.test(group))) return false;
  return halves.length === 2 ? groups.length <= 7 : groups.length === 8;
}

function isAuthority(text: string): boolean {
  const at = text.indexOf('@');
  if (at !== -1 && !consistsOf(text.slice(0, at), userCharacters)) return false;
  const rest = text.slice(at + 1);
  const [, literal, name] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(rest) ?? [];
  if (literal !== undefined) return isIpv6(literal) || FUTURE_ADDRESS.test(literal);
  return name !== undefined && consistsOf(name, hostCharacters);
}

function isReference(text: string, absolute: boolean): boolean {
  const [, scheme, authority, path = '', query = '', fragment] = PARTS.exec(text) ?? [];
  if (absolute && (scheme === undefined || fragment !== undefined)) return false;
  if (scheme !== undefined && !SCHEME.test(scheme)) return false;
  if (authority !== undefined && !isAuthority(authority)) return false;
  // Without scheme and authority, a colon in the first segment would make the segment read as a scheme (section 4.2).
  if (scheme === undefined && authority === undefined && path.split('/', 1)[0]?.includes(':')) return false;
  if (!consistsOf(path, pathCharacters) || !consistsOf(query, queryCharacters)) return false;
  return fragment === undefined || consistsOf(fragment, queryCharacters);
}

/** Whether the text is a URI-reference (RFC 3986, section 4.1). The empty text is one. */
export function isUriReference(text: string): boolean {
  return isReference(text, false);
}

/** Whether the text is an absolute URI (RFC 3986, section 4.3): with a scheme and without a fragment. */
export function isAbsoluteUri(text: string): boolean {
  return isReference(text, true);
}
