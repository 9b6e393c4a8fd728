import type { IncomingHttpHeaders } from 'node:http';
import { carillonError } from '../core/index.ts';
import { isLoopback } from '../server/index.ts';
import { HttpError } from './problem.ts';

/** Refuses a request that a browser was tricked into. Throws {@link HttpError} 403. */
export type Guard = (headers: IncomingHttpHeaders) => void;

/**
 * Two checks, because a gateway on loopback has no other protection from the pages its user visits:
 *
 * - the Host must be a name of this machine, or a page whose own name was rebound to 127.0.0.1 could read everything
 *   (bound to a public address, the gateway cannot know its names and does not check them);
 * - a request that a browser says comes from another site is refused. There is no CORS header anywhere.
 */
export function createGuard(boundHost: string): Guard {
  const loopback = isLoopback(boundHost);
  const hosts = new Set(['localhost', '127.0.0.1', '[::1]', bracketed(boundHost).toLowerCase()]);
  return (headers) => {
    const host = headers.host ?? '';
    if (loopback && !hosts.has(nameOf(host))) {
      throw refusal('host', `the Host ${JSON.stringify(host)} is not this machine; use localhost, 127.0.0.1 or [::1]`);
    }
    const site = headers['sec-fetch-site'];
    if (site === 'cross-site' || site === 'same-site') {
      throw refusal('sec-fetch-site', 'pages of other sites may not use this server');
    }
    const { origin } = headers;
    if (origin !== undefined && hostOf(origin) !== host.toLowerCase()) {
      throw refusal('origin', `pages of ${JSON.stringify(origin)} may not use this server`);
    }
  };
}

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/** A Host header without its port. */
const nameOf = (host: string): string => host.toLowerCase().replace(/:\d*$/, '');

function hostOf(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null;
}

const refusal = (header: string, message: string): HttpError =>
  new HttpError(403, carillonError('CARILLON_OPTION_INVALID', message, { header }));
