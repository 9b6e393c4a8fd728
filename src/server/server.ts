import { hostname } from 'node:os';
import { createBus } from '../bus/index.ts';
import {
  type Bus,
  carillonError,
  defineModule,
  type Limits,
  type Logger,
  type Module,
  type Observation,
  silentLogger,
} from '../core/index.ts';
import { resolveConfig, type ServerConfig } from './config.ts';
import { createLifecycle, type Part } from './lifecycle.ts';

/** A way in from outside: the HTTP gateway. Started after the bus, stopped before it. */
export type Edge = Part;

/** What an edge is made with. */
export interface EdgeContext {
  readonly bus: Bus;
  readonly log: Logger;
  readonly limits: Limits;
  readonly host: string;
  readonly port: number;
  readonly http: Readonly<Record<string, number>>;
  readonly stopDeadlineMs: number;
}

export interface ServerOptions {
  readonly log?: Logger;
  /** Sees everything the bus tells, what it does while it starts included. */
  readonly observe?: (observation: Observation) => void;
  /** Makes the edges, once the bus runs. Default: none. */
  readonly edges?: (context: EdgeContext) => readonly Edge[];
}

/** The event server: the bus with its modules, and the edges in front of it. */
export interface EventServer {
  /** Starts the engine, the modules and the edges, in this order. What was started is stopped again when one fails. */
  start(): Promise<void>;
  /** Stops all in reverse order; the work in hand is waited for up to the deadline. Safe to call twice. */
  stop(): Promise<void>;
  /** The running bus. Throws `CARILLON_STOPPED` before the start. */
  readonly bus: Bus;
  /** Resolves with the error when the engine has failed for good. The server still answers, with 503, until stopped. */
  readonly failed: Promise<Error>;
}

/** The edges stop first and get this part of the deadline; the handlers get what is left. */
const EDGES_SHARE = 2;

/** Makes an event server. Fails with `CARILLON_OPTION_INVALID` when the configuration is not valid. */
export function createServer(config: ServerConfig, options: ServerOptions = {}): EventServer {
  const { log = silentLogger, edges = () => [], observe } = options;
  const { engine, modules, strategies, limits, dataDirectory, stopDeadlineMs, ...rest } = resolveConfig(config);
  if (!engine) throw carillonError('CARILLON_OPTION_INVALID', 'no engine was given', { option: 'engine' });
  let bus: Bus | undefined;
  let stopEndsMs = 0;
  let fail: (error: Error) => void;
  const failed = new Promise<Error>((resolve) => {
    fail = resolve;
  });
  const runningBus = (): Bus => {
    if (!bus) throw carillonError('CARILLON_STOPPED', 'the server has not started');
    return bus;
  };
  const busPart: Part = {
    name: 'bus',
    start: async () => {
      const observer = observing((observation) => {
        if (observation.kind === 'engine-failed') fail(observation.error);
        observe?.(observation);
      });
      bus = await createBus({
        engine: engine(dataDirectory),
        modules: [observer, ...modules],
        strategies,
        limits,
        log,
        worker: `${hostname()}:${process.pid}`,
      });
    },
    stop: () => runningBus().stop({ deadlineMs: Math.max(0, stopEndsMs - performance.now()) }),
  };
  const edgePart = edgesPart(() =>
    edges({ bus: runningBus(), log, limits, stopDeadlineMs: stopDeadlineMs / EDGES_SHARE, ...rest }),
  );
  const lifecycle = createLifecycle([busPart, edgePart]);
  let stopped: Promise<void> | undefined;
  return {
    start: () => lifecycle.start(),
    stop: () => {
      stopEndsMs = performance.now() + stopDeadlineMs;
      return (stopped ??= lifecycle.stop());
    },
    get bus() {
      return runningBus();
    },
    failed,
  };
}

/** A module that starts before the others and observes: what the bus does while it starts is told too. */
const observing = (observer: (observation: Observation) => void): Module =>
  defineModule('carillon-server', { onStart: ({ bus }) => void bus.observe(observer) });

/** The edges as one part: they are made only once there is a bus to make them with. */
function edgesPart(make: () => readonly Edge[]): Part {
  let edges = createLifecycle([]);
  return {
    name: 'edges',
    start: () => {
      edges = createLifecycle(make());
      return edges.start();
    },
    stop: () => edges.stop(),
  };
}
