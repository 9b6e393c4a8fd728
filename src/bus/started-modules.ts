import { toError, type Bus, type Logger, type Module, type ModuleContext, type ModuleHealth } from '../core/index.ts';
import type { Runner } from '../dispatch/index.ts';

interface Started {
  readonly module: Module;
  readonly runners: Runner[];
}

/** Modules started so far, in order: each one's hooks, then its handlers; stopped the other way round. */
export class StartedModules {
  readonly bus: Bus;
  readonly log: Logger;
  readonly all: Started[] = [];

  constructor(bus: Bus, log: Logger) {
    this.bus = bus;
    this.log = log;
  }

  /** @param startHandlers starts its async handlers, once its hooks have run */
  async start(module: Module, startHandlers: () => readonly Runner[]): Promise<void> {
    const started: Started = { module, runners: [] };
    // Noted first: what fails half started is stopped like the others.
    this.all.push(started);
    for (const hook of module.start) await hook(this.contextOf(module));
    started.runners.push(...startHandlers());
  }

  get runners(): ReadonlySet<Runner> {
    return new Set(this.all.flatMap(({ runners }) => runners));
  }

  /**
   * Stops all, the last one first: its handlers, then its hooks. Goes on after an error, so that everything is stopped.
   * @param stopRunners resolves with whether none of the attempts had to be aborted
   */
  async stop(
    stopRunners: (runners: readonly Runner[]) => Promise<boolean>,
  ): Promise<{ readonly inTime: boolean; readonly errors: readonly unknown[] }> {
    const errors: unknown[] = [];
    let inTime = true;
    for (const { module, runners } of this.all.toReversed()) {
      inTime = (await collect(errors, () => stopRunners(runners))) !== false && inTime;
      for (const hook of module.stop.toReversed()) await collect(errors, () => hook(this.contextOf(module)));
    }
    return { inTime, errors };
  }

  contextOf(module: Module): ModuleContext {
    return { bus: this.bus, log: this.log.child({ module: module.moduleId }) };
  }

  async health(): Promise<Readonly<Record<string, ModuleHealth>>> {
    const found: Record<string, ModuleHealth> = {};
    for (const { module } of this.all) found[module.moduleId] = await healthOf(module);
    return found;
  }
}

/** Runs a step; an error is kept for later, so that the steps after it run too. */
export async function collect<Result>(
  errors: unknown[],
  step: () => Result | Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await step();
  } catch (error) {
    errors.push(error);
    return undefined;
  }
}

async function healthOf(module: Module): Promise<ModuleHealth> {
  for (const check of module.health) {
    try {
      const found = await check();
      if (!found.healthy) return found;
    } catch (error) {
      return { healthy: false, detail: toError(error).message };
    }
  }
  return { healthy: true };
}
