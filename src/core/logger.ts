/** Fields that go with a log line. Secrets are the caller's to leave out. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where the bus and its handlers write what they have to say. pino and console adapters fit; see `carillon/server`. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds these fields to each of its lines. */
  child(fields: LogFields): Logger;
}

const nothing = (): void => undefined;

/** Says nothing. The default of an embedded bus: a library does not write to its host's terminal unasked. */
export const silentLogger: Logger = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  child: () => silentLogger,
};
