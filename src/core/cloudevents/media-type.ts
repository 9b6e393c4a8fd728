/** One event in the JSON event format. */
export const EVENT_MEDIA_TYPE = 'application/cloudevents+json';
/** An array of events in the JSON batch format. */
export const BATCH_MEDIA_TYPE = 'application/cloudevents-batch+json';

const token = "[!#$%&'*+\\-.^_`{|}~0-9A-Za-z]+";
const quoted = '"(?:[ !#-\\[\\]-~]|\\\\[ -~])*"';
const MEDIA_TYPE = new RegExp(`^${token}/${token}(?: *; *${token}=(?:${token}|${quoted}))*$`);

/** Whether the text is a media type with its parameters (RFC 2046 in the syntax of RFC 2045, without comments). */
export function isMediaType(text: string): boolean {
  return MEDIA_TYPE.test(text);
}

/**
 * Whether a `datacontenttype` declares JSON: a subtype of `json` or ending in `+json`, parameters aside, in any case
 * (JSON event format, section 3.1.1). Absent means JSON.
 */
export function isJsonMediaType(text: string | undefined): boolean {
  if (text === undefined || text === 'application/json') return true;
  const essence = text.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  return essence.endsWith('/json') || (essence.includes('/') && essence.endsWith('+json'));
}
