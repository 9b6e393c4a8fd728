import { happened, type Kit } from './kit.ts';
import { refused, same } from './check.ts';

// What an engine does that lacks a capability: the documented refusal, never nothing.

/** Without `shared`: a second process on the place is refused. */
export async function refusesOthers(kit: Kit): Promise<void> {
  await kit.start();
  await refused('CARILLON_DIRECTORY_LOCKED', () => kit.beside(), 'a second process on the place');
}

/** Without `outbox`: a publish within a transaction of the application is refused, and nothing is stored. */
export async function refusesForeignTransactions(kit: Kit): Promise<void> {
  await kit.start();
  const tx = { query: () => Promise.reject(new Error('not to be called')) };
  const error = await refused(
    'CARILLON_UNSUPPORTED',
    () => kit.bus.publish(happened('e'), { tx }),
    'a publish within a transaction of the application',
  );
  same(error.details['capability'], 'outbox', 'the capability it names');
  same((await kit.log()).length, 0, 'events in the log');
}
