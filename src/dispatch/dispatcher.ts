import { carillonError } from '../core/index.ts';
import type { EngineSubscription } from '../engine/index.ts';
import { Runner } from './runner.ts';
import type { DispatchHost, HandlerSpec } from './subscription.ts';

/** A subscription that is open and not driven yet. */
export interface OpenedSubscription {
  readonly spec: HandlerSpec;
  readonly source: EngineSubscription;
}

/**
 * The dispatcher: the article's event driver. Manages the runners of all subscriptions of one bus.
 * States: `running` → `draining` → `stopped`.
 */
export class Dispatcher {
  readonly host: DispatchHost;
  readonly runners: Map<string, Runner> = new Map();

  constructor(host: DispatchHost) {
    this.host = host;
  }

  /** Opens the durable subscription: from now on it misses nothing. Drive it with {@link start}. */
  async open(spec: HandlerSpec): Promise<OpenedSubscription> {
    const source = await this.host.engine.subscribe({
      name: spec.name,
      from: spec.from,
      wantsType: spec.wantsType,
      passes: spec.passes,
      order: spec.strategy.order,
      hold: spec.strategy.onDead === 'hold',
      responds: spec.responds,
    });
    return { spec, source };
  }

  /** Starts driving the handler of an opened subscription. */
  start({ spec, source }: OpenedSubscription): Runner {
    const runner = new Runner(this.host, spec, source);
    this.runners.set(spec.name, runner);
    return runner;
  }

  /**
   * Stops runners: lets their attempts end, and aborts those that outlast the deadline. Whether none had to be.
   * @param deadlineMs from now, in ms
   */
  async stop(runners: readonly Runner[], deadlineMs: number): Promise<boolean> {
    const { clock } = this.host;
    let late = false;
    const drained = Promise.all(runners.map((runner) => runner.drain()));
    let timer: { cancel(): void } | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = clock.setTimer(deadlineMs, () => {
        late = runners.some((runner) => runner.running.size > 0);
        const reason = carillonError('CARILLON_STOPPED', 'the bus stopped before the handler was done');
        for (const runner of runners) runner.abortAll(reason);
        resolve();
      });
    });
    await Promise.race([drained, deadline]);
    timer?.cancel();
    await Promise.all(runners.map((runner) => runner.stop()));
    for (const runner of runners) this.runners.delete(runner.spec.name);
    return !late;
  }
}
