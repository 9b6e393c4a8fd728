export { isLoopback } from './address.ts';
export { defineConfig, type ServerConfig } from './config.ts';
export { adaptPino, createPinoLogger, type PinoLoggerOptions } from './pino-logger.ts';
export { type HostProcess, runUntilStopped } from './run.ts';
export { createServer, type Edge, type EdgeContext, type EventServer, type ServerOptions } from './server.ts';
