import { relative } from 'node:path';
import type { DestinationStream } from 'pino';
import type { Observation } from '../core/index.ts';
import { memory } from '../engines/memory/index.ts';
import { sqlite } from '../engines/sqlite/index.ts';
import { createGateway, type GatewayAddress } from '../gateway/index.ts';
import {
  createPinoLogger,
  createServer,
  type Edge,
  type EdgeContext,
  runUntilStopped,
  type ServerConfig,
} from '../server/index.ts';
import { type LoadedConfig, loadConfig } from './load-config.ts';
import { handledLine } from './handled-lines.ts';
import { printable, type Terminal } from './terminal.ts';
import { type Started, startedLines } from './started-lines.ts';

export interface ServeFlags {
  readonly port?: number;
  readonly host?: string;
  readonly data?: string;
  readonly config?: string;
  readonly memory?: boolean;
  readonly allowPublic?: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

/** `carillon serve`: runs until a signal or a failure ends it. Resolves with the exit code. */
export async function serve(flags: ServeFlags, terminal: Terminal): Promise<number> {
  const loaded = await loadConfig(flags.config, process.cwd());
  const config = merge(loaded.config, flags);
  const log = createPinoLogger({
    level: flags.quiet ? 'warn' : 'info',
    ...(flags.json || flags.quiet ? {} : { destination: forPeople(terminal) }),
  });
  let address: GatewayAddress | undefined;
  const report = createReport(flags, terminal);
  const server = createServer(config, {
    log,
    observe: (observation) => report.observe(observation),
    edges: (context) => [
      gatewayEdge(context, (listening) => {
        address = listening;
      }),
    ],
  });
  await server.start();
  // Before anything is printed: whoever reads that it listens may send a signal at once.
  const ended = runUntilStopped(server, log);
  if (address) report.started(await describe(config, loaded, address, flags.memory === true, server.bus));
  return ended;
}

/** What the command line says counts most, then the configuration, then the defaults. */
function merge(config: ServerConfig, flags: ServeFlags): ServerConfig {
  const dataDirectory = flags.data ?? config.dataDirectory ?? '.carillon';
  return {
    ...config,
    engine: flags.memory ? () => memory() : (config.engine ?? ((directory) => sqlite(directory))),
    dataDirectory,
    ...(flags.port === undefined ? {} : { port: flags.port }),
    ...(flags.host === undefined ? {} : { host: flags.host }),
    ...(flags.allowPublic ? { allowPublic: true } : {}),
  };
}

function gatewayEdge(context: EdgeContext, onListening: (address: GatewayAddress) => void): Edge {
  const { bus, log, limits, http, host, port, stopDeadlineMs } = context;
  const gateway = createGateway({ bus, log, limits, httpLimits: http });
  return {
    name: 'http',
    start: async () => onListening(await gateway.start({ host, port })),
    stop: () => gateway.stop({ deadlineMs: stopDeadlineMs }),
  };
}

interface Report {
  observe(observation: Observation): void;
  started(server: Started): void;
}

/** What a restart finds in the log is handled before the address is known; the lines come after it all the same. */
function createReport({ quiet, json }: ServeFlags, terminal: Terminal): Report {
  let early: string[] | null = [];
  return {
    observe: (observation) => {
      const line = quiet ? null : handledLine(observation, json === true);
      if (line === null) return;
      if (early) early.push(line);
      else terminal.out(line);
    },
    started: (server) => {
      if (!quiet) for (const line of startedLines(server, json === true)) terminal.out(line);
      for (const line of early ?? []) terminal.out(line);
      early = null;
    },
  };
}

async function describe(
  config: ServerConfig,
  loaded: LoadedConfig,
  address: GatewayAddress,
  inMemory: boolean,
  bus: EdgeContext['bus'],
): Promise<Started> {
  const modules = config.modules ?? [];
  return {
    address,
    engine: (await bus.health()).engine,
    dataDirectory: inMemory ? null : (config.dataDirectory ?? ''),
    config: loaded.file,
    modules: modules.map(({ moduleId }) => moduleId),
    handlers: (await bus.subscriptions()).map(({ name, target }) => ({ name, target })),
    command: commandName(),
  };
}

/** How this program is called from where it was started. */
function commandName(): string {
  const script = process.argv[1] ?? 'carillon';
  return script.endsWith('main.js') && !script.includes('node_modules')
    ? `node ${relative(process.cwd(), script)}`
    : 'npx carillon';
}

/** Log lines as people read them: what is said, then by whom. */
function forPeople(terminal: Terminal): DestinationStream {
  return {
    write: (line) => {
      const { level, time: _time, pid: _pid, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
      const mark = Number(level) >= 50 ? 'error: ' : Number(level) >= 40 ? 'warning: ' : '';
      // What the line of the attempt tells anyway is left out.
      const { subscription, event: _event, type: _type, position: _position, attempt: _attempt, ...rest } = fields;
      const who = typeof subscription === 'string' ? `  ${subscription}: ` : '';
      const more = Object.keys(rest).length === 0 ? '' : ` ${JSON.stringify(rest)}`;
      terminal.err(printable(`${who}${mark}${String(msg)}${more}`));
    },
  };
}
