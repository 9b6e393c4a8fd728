import { SharedTrial } from '../shared-trial.mjs';
import { openHost } from './host.mjs';
import { Proxy } from './proxy.mjs';

const LIVES = 3;
/** As long as a process may hang: short, so that a campaign sees many take-overs. */
const LEASE_MS = 4_000;
/** Several processes and a server share the machine. */
const PACE = 25;

/** The way to the server goes through a proxy that does wrong. */
export const throughProxy = {
  async open({ trial, database, random }) {
    const proxy = await new Proxy(database.address, random).listen();
    trial.settings.database = { ...trial.settings.database, url: database.url(proxy.port) };
    return { proxy };
  },

  close: ({ proxy }) => proxy?.close(),
};

/**
 * A mode of the PostgreSQL engine: several processes on one database, until something happens to some of them.
 * @param mode `{ own, flags, engine, cycle, open, close }`: what the server is (see `openHost`), what the engine has beside
 * its database, one cycle, and what is around all cycles of a trial
 */
export function sharedMode({ own, flags, engine, cycle, open, close }) {
  return {
    needs: () => undefined,
    prepare: () => openHost({ own, flags }),
    finish: (host) => host?.dispose(),

    async trial({ directory, settings, random, cyclesMax: cycles, cyclesDone, tools: host, told }) {
      const database = await host.database();
      const plain = { url: database.url(), leaseMs: LEASE_MS, ...engine };
      const trial = new SharedTrial({ pace: PACE, ...settings, directory, database: plain });
      const context = { trial, database, host, random, settings };
      try {
        Object.assign(context, await open?.(context));
        await trial.startAll(LIVES);
        for (let done = 0; done < cycles; done++) {
          await cycle({ ...context, cycle: cyclesDone + done });
          trial.assertAlive();
          for (const strayed of await database.strayed()) {
            trial.broken(trial.any(random), `each slot is in one share: ${JSON.stringify(strayed)}`);
          }
          told();
        }
        // Who leaves hands over; who is killed leaves the rest to those that verify.
        await trial.leave(trial.any(random));
        await trial.killAll();
        await close?.(context);
        trial.settings.database = plain;
        const verdict = await trial.verify();
        if (verdict.violations.length > 0 && settings.keep) await database.dump(directory);
        return { cycles, verdict };
      } catch (error) {
        trial.write(directory);
        if (settings.keep) await database.dump(directory);
        throw error;
      } finally {
        await close?.(context);
        await Promise.all([...trial.living].map((life) => life.kill()));
        await database.drop();
      }
    },
  };
}
