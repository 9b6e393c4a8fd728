/** A media type with its parameters, names in lower case (RFC 9110, section 8.3.1). */
export interface MediaType {
  /** `type/subtype`, in lower case. */
  readonly essence: string;
  readonly parameters: ReadonlyMap<string, string>;
}

const TOKEN = /^[!#$%&'*+.^_`|~\w-]+$/;
const PARAMETER = /^\s*([!#$%&'*+.^_`|~\w-]+)=([!#$%&'*+.^_`|~\w-]+|"(?:[^"\\]|\\.)*")\s*(?:;|$)/;

/** The media type in a header value; null when it is none. */
export function parseMediaType(text: string): MediaType | null {
  const semicolon = text.indexOf(';');
  const essence = (semicolon < 0 ? text : text.slice(0, semicolon)).trim().toLowerCase();
  const [type = '', subtype = '', ...more] = essence.split('/');
  if (more.length > 0 || !TOKEN.test(type) || !TOKEN.test(subtype)) return null;
  const parameters = new Map<string, string>();
  let rest = semicolon < 0 ? '' : text.slice(semicolon + 1);
  while (rest.trim() !== '') {
    const found = PARAMETER.exec(rest);
    const [all = '', name = '', value = ''] = found ?? [];
    if (!found || parameters.has(name.toLowerCase())) return null;
    parameters.set(name.toLowerCase(), value.startsWith('"') ? value.slice(1, -1).replaceAll(/\\(.)/g, '$1') : value);
    rest = rest.slice(all.length);
  }
  return { essence, parameters };
}

/** Whether data of this type is JSON (CloudEvents JSON format 1.0.2, section 3.1.1). */
export function isJson({ essence }: MediaType): boolean {
  return essence.endsWith('/json') || essence.endsWith('+json');
}

/** Whether data of this type is text by its nature; anything else is bytes. */
export function isText({ essence }: MediaType): boolean {
  return (
    essence.startsWith('text/') ||
    essence.endsWith('+xml') ||
    essence === 'application/xml' ||
    essence === 'application/x-www-form-urlencoded'
  );
}

/** Whether text of this type is UTF-8, which ASCII is part of. Default: yes. */
export function isUtf8({ parameters }: MediaType): boolean {
  const charset = parameters.get('charset')?.toLowerCase();
  return charset === undefined || charset === 'utf-8' || charset === 'utf8' || charset === 'us-ascii';
}
