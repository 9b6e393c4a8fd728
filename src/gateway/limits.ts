import { carillonError } from '../core/index.ts';

/** Every bound of the gateway (G13). */
export interface HttpLimits {
  /** The largest request body, in bytes. Bounds a batch too. */
  readonly bodyBytesMax: number;
  /** All header lines of a request together, in bytes. */
  readonly headerBytesMax: number;
  /** How long a client may take to send its headers, in ms. */
  readonly headersTimeoutMs: number;
  /** How long a client may take to send its whole request, in ms. */
  readonly requestTimeoutMs: number;
  /** Open connections; one more is closed at once. */
  readonly connectionsMax: number;
  /** Event streams open at once; one more is answered 503. */
  readonly streamsMax: number;
  /** A comment is written to a stream this often, in ms, so that both ends notice a dead connection. */
  readonly heartbeatMs: number;
  /** A stream whose client takes nothing for so long, in ms, is closed; the client resumes by its last id. */
  readonly stallMs: number;
  /** The most events of one answer to `GET /events`. */
  readonly pageEventsMax: number;
}

const defaultHttpLimits: HttpLimits = {
  bodyBytesMax: 4 * 1024 * 1024,
  headerBytesMax: 16 * 1024,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  connectionsMax: 10_000,
  streamsMax: 2_000,
  heartbeatMs: 15_000,
  stallMs: 10_000,
  pageEventsMax: 1_000,
};

/** The default bounds with some replaced. Refuses unknown names and what is no whole number from 1. */
export function resolveHttpLimits(given: Partial<HttpLimits> = {}): HttpLimits {
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(defaultHttpLimits, name)) {
      throw carillonError('CARILLON_OPTION_INVALID', `there is no HTTP limit named "${name}"`, {
        option: `http.${name}`,
      });
    }
    if (!Number.isSafeInteger(value) || value < 1) {
      throw carillonError('CARILLON_OPTION_INVALID', `http.${name} must be a whole number from 1, not ${value}`, {
        option: `http.${name}`,
      });
    }
  }
  return { ...defaultHttpLimits, ...given };
}
