import { defaultLimits, silentLogger, systemClock } from '../../src/core/index.ts';
import type { DeliveryRow } from '../../src/engine/log/index.ts';
import { resolveOptions } from '../../src/engines/postgres/options.ts';
import { PostgresStore } from '../../src/engines/postgres/store.ts';

const ignored = (): void => undefined;

/** A store that is a member of the log in that database, with nobody to tell of what happens to it. */
export async function openedStore(url: string): Promise<PostgresStore> {
  const store = new PostgresStore(resolveOptions({ url }));
  await store.open({
    limits: defaultLimits,
    log: silentLogger,
    clock: systemClock,
    onFailure: ignored,
    onStorageFull: ignored,
    onUnreachable: ignored,
  });
  await store.sharing.join();
  return store;
}

/** A row of a delivery without a key, that was attempted once, but for what is given. */
export function deliveryRow(given: Pick<DeliveryRow, 'subscription' | 'position'> & Partial<DeliveryRow>): DeliveryRow {
  return {
    slot: 0,
    state: 'retrying',
    attempts: 1,
    atMs: 0,
    key: null,
    holds: false,
    records: [],
    data: null,
    ...given,
  };
}
