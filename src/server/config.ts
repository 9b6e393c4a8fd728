import { carillonError, type Limits, type Module, resolveLimits, type Strategy } from '../core/index.ts';
import type { Engine } from '../engine/index.ts';
import { isLoopback } from './address.ts';

/** What an event server is told, in `carillon.config.ts` or in code. Every option has a default. */
export interface ServerConfig {
  /** What handles the events. Default: none; events are stored and can be read. */
  readonly modules?: readonly Module[];
  /** Makes the engine in the data directory. Default: SQLite, when started by `carillon serve`. */
  readonly engine?: (dataDirectory: string) => Engine;
  /** The address to listen on. Default `127.0.0.1`. */
  readonly host?: string;
  /** The port to listen on; 0 takes a free one. Default 4600. */
  readonly port?: number;
  /** Default `.carillon`. */
  readonly dataDirectory?: string;
  /** Bounds of the bus. */
  readonly limits?: Partial<Limits>;
  /** Bounds of the HTTP gateway; `carillon/gateway` lists them. */
  readonly http?: Readonly<Record<string, number>>;
  /** Strategy options by subscription name (`module.handler`); they replace what the code says, option by option. */
  readonly strategies?: Readonly<Record<string, Strategy>>;
  /** Allows an address that other machines reach. There is no authentication yet: whoever reaches it may do everything. */
  readonly allowPublic?: boolean;
  /** How long a stop waits for the work in hand, in ms. Default 10,000. */
  readonly stopDeadlineMs?: number;
}

/** A configuration with every option decided. */
export interface ResolvedConfig {
  readonly modules: readonly Module[];
  readonly engine: ((dataDirectory: string) => Engine) | undefined;
  readonly host: string;
  readonly port: number;
  readonly dataDirectory: string;
  readonly limits: Limits;
  readonly strategies: Readonly<Record<string, Strategy>>;
  readonly http: Readonly<Record<string, number>>;
  readonly stopDeadlineMs: number;
}

/** Gives `carillon.config.ts` its types. Returns what it is given; it is judged when the server is made. */
export function defineConfig(config: ServerConfig): ServerConfig {
  return config;
}

type Check = readonly [must: string, holds: (value: unknown) => boolean];

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const checks: Readonly<Record<keyof ServerConfig, Check>> = {
  modules: ['an array of modules', (value) => Array.isArray(value) && value.every(isModule)],
  engine: ['a function that makes an engine of a data directory', (value) => typeof value === 'function'],
  host: ['an address or a name, not empty', (value) => typeof value === 'string' && value !== ''],
  port: ['a whole number from 0 to 65535', (value) => isWhole(value) && value <= 65_535],
  dataDirectory: ['a path, not empty', (value) => typeof value === 'string' && value !== ''],
  limits: ['an object of limits', isObject],
  http: ['an object of HTTP limits', isObject],
  strategies: [
    'an object of strategies by subscription name',
    (value) => isObject(value) && Object.values(value).every(isObject),
  ],
  allowPublic: ['true or false', (value) => typeof value === 'boolean'],
  stopDeadlineMs: ['a whole number of ms from 0', isWhole],
};

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isModule(value: unknown): boolean {
  return isObject(value) && typeof (value as Partial<Module>).moduleId === 'string' && 'handlers' in value;
}

/**
 * Judges a configuration and decides what it leaves open. Fails with `CARILLON_OPTION_INVALID`, naming the option; and
 * refuses an address that others reach without `allowPublic`.
 */
export function resolveConfig(config: ServerConfig): ResolvedConfig {
  if (!isObject(config)) throw invalid('config', 'a configuration is an object; make it with defineConfig({ ... })');
  for (const [name, value] of Object.entries(config)) {
    const check = Object.hasOwn(checks, name) ? checks[name as keyof ServerConfig] : undefined;
    if (!check) throw invalid(name, `there is no option "${name}"; there is: ${Object.keys(checks).join(', ')}`);
    if (value !== undefined && !check[1](value)) throw invalid(name, `${name} must be ${check[0]}`);
  }
  const host = config.host ?? '127.0.0.1';
  if (!isLoopback(host) && config.allowPublic !== true) {
    throw invalid(
      'host',
      `${host} is reached by other machines, and nothing here authenticates them yet: whoever reaches it may publish, ` +
        'read everything and discard dead letters. Listen on 127.0.0.1 behind a proxy that authenticates, or set allowPublic (--allow-public)',
    );
  }
  return {
    modules: config.modules ?? [],
    strategies: config.strategies ?? {},
    engine: config.engine,
    host,
    port: config.port ?? 4600,
    dataDirectory: config.dataDirectory ?? '.carillon',
    limits: resolveLimits(config.limits),
    http: config.http ?? {},
    stopDeadlineMs: config.stopDeadlineMs ?? 10_000,
  };
}

const invalid = (option: string, message: string): Error =>
  carillonError('CARILLON_OPTION_INVALID', message, { option });
