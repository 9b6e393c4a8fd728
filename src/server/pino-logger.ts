import { type DestinationStream, type Logger as Pino, pino } from 'pino';
import type { LogFields, Logger } from '../core/index.ts';

export interface PinoLoggerOptions {
  readonly level?: 'debug' | 'info' | 'warn' | 'error';
  /** Where lines go. Default: standard error, written at once, so that the last words of a dying process are kept. */
  readonly destination?: DestinationStream;
}

/** A {@link Logger} that writes JSON lines through pino. Control characters are escaped, as JSON does. */
export function createPinoLogger(options: PinoLoggerOptions = {}): Logger {
  const { level = 'info', destination = pino.destination({ dest: 2, sync: true }) } = options;
  return adaptPino(pino({ level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime }, destination));
}

/** A {@link Logger} on top of a pino logger of the application. */
export function adaptPino(logger: Pino): Logger {
  return {
    debug: (message, fields) => logger.debug(fields ?? {}, message),
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, fields) => logger.error(fields ?? {}, message),
    child: (fields: LogFields) => adaptPino(logger.child(fields)),
  };
}
