import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { emptyBatch, type CommitBatch } from '../../src/engine/log/store.ts';
import type { DeliveryRow } from '../../src/engine/log/index.ts';
import type { PostgresStore } from '../../src/engines/postgres/store.ts';
import { freshDatabase, type FreshDatabase } from './fresh-database.ts';
import { deliveryRow, openedStore } from './opened-store.ts';
import { startProxy, type Proxy } from './proxy.ts';

const SLOTS = Array.from({ length: 64 }, (_, slot) => slot);
const half = (from: number): number[] => SLOTS.slice(from, from + 32);
const place = new Uint8Array([1]);
const laterPlace = new Uint8Array([2]);

/** What a member has asked for was done, and it was not told: it asks again, and must find what there is. */
describe('an answer that is lost', () => {
  let database: FreshDatabase;
  let proxy: Proxy;
  let client: pg.Client;
  let store: PostgresStore;
  let other: PostgresStore;
  let subscription: number;

  beforeEach(async () => {
    database = await freshDatabase();
    proxy = await startProxy(database.url);
    client = new pg.Client(database.url);
    await client.connect();
    await client.query('SET search_path = carillon');
    store = await openedStore(proxy.url);
    other = await openedStore(database.url);
    subscription = (await store.openSubscription('some', 'beginning')).no;
    // What is lost below is the answer to a statement that is known already.
    await store.sharing.takeChanges();
    await store.sharing.takeAnswers();
    await store.commit(emptyBatch);
  });
  afterEach(async () => {
    await Promise.all([store.close(), other.close()]);
    await client.end();
    await proxy.close();
    await database.drop();
  });

  async function slots(): Promise<number[]> {
    const { rows } = await client.query<{ slot: number }>('SELECT unnest(slots) AS slot FROM shares');
    return rows.map(({ slot }) => slot).toSorted((a, b) => a - b);
  }

  const row = (position: number, slot: number, attempts: number): DeliveryRow =>
    deliveryRow({ subscription, position, slot, attempts });

  it('of a claim: the slots are not left to nobody', async () => {
    proxy.misbehaveAt('claim_shares', 'answer');
    const [claimed] = await store.sharing.claim(subscription, 64, []);
    expect([proxy.misdeeds, claimed?.slots.toSorted((a, b) => a - b)]).toEqual([1, SLOTS]);
    const known = [claimed?.no ?? 0];
    expect(await store.sharing.claim(subscription, 64, known)).toEqual([]);
    expect(await other.sharing.claim(subscription, 64, [])).toEqual([]);
    expect(await slots()).toEqual(SLOTS);
  });

  it('of a claim of part: no more is taken than was asked for', async () => {
    proxy.misbehaveAt('claim_shares', 'answer');
    const claimed = await store.sharing.claim(subscription, 20, []);
    expect(claimed.flatMap((share) => share.slots)).toHaveLength(20);
    const rest = await other.sharing.claim(subscription, 64, []);
    expect(rest.flatMap((share) => share.slots)).toHaveLength(44);
    expect(await slots()).toEqual(SLOTS);
  });

  it('of an arrangement: what was given up is there once, though another has it by now', async () => {
    const [whole] = await store.sharing.claim(subscription, 64, []);
    const held = [whole?.no ?? 0];
    const given = { put: [row(1, 0, 1), row(2, 40, 1)], remove: [] };
    const arrangement = {
      subscription,
      held,
      kept: { slots: half(0), state: place },
      freed: { slots: half(32), state: place },
    };
    await store.commit({ ...emptyBatch, put: [row(3, 41, 1)] });
    const first: CommitBatch = { ...emptyBatch, ...given, arrangements: [arrangement] };
    proxy.misbehaveAt('\0commit\0', 'answer');
    const made = store.commit(first);
    // It was made: another takes what was given up, and goes on from there.
    let taken = await other.sharing.claim(subscription, 32, []);
    while (taken.length === 0) taken = await other.sharing.claim(subscription, 32, []);
    await other.commit({ ...emptyBatch, put: [row(2, 40, 5)] });
    const { arranged } = await made;
    expect([proxy.misdeeds, await slots()]).toEqual([1, SLOTS]);
    const { rows } = await client.query<{ no: string }>('SELECT no FROM shares WHERE owner = $1', [
      store.sharing.member,
    ]);
    expect(rows.map(({ no }) => Number(no))).toEqual(arranged);

    // The writer may come back to it later, with what has happened since.
    const again = { ...arrangement, kept: { slots: half(0), state: laterPlace } };
    const later: CommitBatch = {
      ...emptyBatch,
      put: [row(1, 0, 2), row(2, 40, 1)],
      remove: [{ subscription, position: 3 }],
      arrangements: [again],
    };
    expect((await store.commit(later)).arranged).toEqual(arranged);
    const attempts = await client.query('SELECT position::int, attempts FROM deliveries ORDER BY position');
    expect(attempts.rows).toEqual([
      { position: 1, attempts: 2 },
      { position: 2, attempts: 5 },
      { position: 3, attempts: 1 },
    ]);
    const places = await client.query<{ state: Uint8Array }>('SELECT state FROM places WHERE share = $1', [
      ...arranged,
    ]);
    expect(places.rows.map(({ state }) => [...state])).toEqual([[2]]);
    expect(await slots()).toEqual(SLOTS);
  });

  it('of an arrangement that gives up all: the same', async () => {
    const [whole] = await store.sharing.claim(subscription, 64, []);
    const arrangement = { subscription, held: [whole?.no ?? 0], kept: null, freed: { slots: SLOTS, state: place } };
    await store.commit(emptyBatch);
    proxy.misbehaveAt('\0commit\0', 'answer');
    expect((await store.commit({ ...emptyBatch, arrangements: [arrangement] })).arranged).toEqual([null]);
    expect([proxy.misdeeds, await slots()]).toEqual([1, SLOTS]);
  });

  it('of word that a dead letter was redriven: the word is not lost', async () => {
    await store.sharing.claim(subscription, 64, []);
    await store.commit({ ...emptyBatch, put: [{ ...row(7, 3, 4), state: 'dead' }] });
    const change = { kind: 'redrive', subscriptionName: 'some', data: undefined, nowMs: 5 } as const;
    await other.sharing.changeDead({ ...change, positions: [7] });
    proxy.misbehaveAt('\0SELECT no, kind', 'answer');
    const taken = await store.sharing.takeChanges();
    expect([proxy.misdeeds, taken.map(({ row: { position } }) => position)]).toEqual([1, [7]]);
    expect(await store.sharing.takeChanges()).toEqual([]);
  });

  it('of an answer to a request: it is not lost', async () => {
    const answer = { asker: store.sharing.asker, source: '/s', id: 'a', subscription: 'some', answer: '{}' };
    await other.commit({ ...emptyBatch, answers: [answer] });
    proxy.misbehaveAt('\0SELECT no, asker', 'answer');
    expect(await store.sharing.takeAnswers()).toEqual([answer]);
    expect([proxy.misdeeds, await store.sharing.takeAnswers()]).toEqual([1, []]);
  });
});
