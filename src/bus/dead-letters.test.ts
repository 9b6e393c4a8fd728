import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defaultLimits, defineEvent, makeEvent, type DeadLetter } from '../core/index.ts';
import type { Engine } from '../engine/index.ts';
import { busDeadLetters } from './dead-letters.ts';
import { EventGate } from './event-gate.ts';

const Counted = defineEvent('thing.counted', { data: z.object({ n: z.coerce.number() }) });
const event = makeEvent({ specversion: '1.0', id: 'e', source: '/s', type: 'thing.counted' }, { n: 1 });

function over(letters: readonly number[]) {
  const asked: unknown[] = [];
  const listed: unknown[] = [];
  const deadLetters: Engine['deadLetters'] = {
    list: async (query) => {
      listed.push(query);
      const page = letters.filter((position) => position > query.after).slice(0, query.limit);
      return page.map((position) => ({ position, event }) as DeadLetter);
    },
    get: async (_subscription, position) => (letters.includes(position) ? ({ position, event } as DeadLetter) : null),
    redrive: async (selection, data) => (asked.push([selection, data]), letters),
    discard: async (selection) => (asked.push(selection), letters),
  };
  const gate = new EventGate(defaultLimits);
  gate.define(Counted);
  return { asked, listed, dead: busDeadLetters({ deadLetters } as Engine, gate) };
}

const selection = { subscription: 'm.h' };

describe('dead letters of the bus', () => {
  it('lists 100 from the beginning unless told otherwise', async () => {
    const { listed, dead } = over([]);
    await dead.list();
    await dead.list({ subscription: 'm.h', after: 5, limit: 2 });
    expect(listed).toEqual([
      { subscription: undefined, after: 0, limit: 100 },
      { subscription: 'm.h', after: 5, limit: 2 },
    ]);
  });

  it('names the one that is not there', async () => {
    const { dead } = over([7]);
    expect(await dead.get('m.h', 7)).toEqual({ position: 7, event });
    await expect(dead.get('m.h', 8)).rejects.toMatchObject({
      code: 'CARILLON_DEAD_LETTER_UNKNOWN',
      details: { subscription: 'm.h', positions: [8] },
    });
  });

  it('tells how many were redriven or discarded', async () => {
    const { asked, dead } = over([7, 8]);
    expect([await dead.redrive(selection), await dead.discard(selection)]).toEqual([2, 2]);
    expect(asked).toEqual([[selection, undefined], selection]);
  });

  it('hands on edited data as its schema lets it through', async () => {
    const { asked, dead } = over([7]);
    const one = { ...selection, positions: [7] };
    await dead.redrive(one, { data: { n: '5' } });
    expect(asked).toEqual([[one, '{"n":5}']]);
  });

  it('looks at every letter of a subscription before their data is replaced', async () => {
    const { asked, listed, dead } = over(Array.from({ length: 250 }, (_, no) => no + 1));
    expect(await dead.redrive(selection, { data: { n: 1 } })).toBe(250);
    expect(listed).toMatchObject([{ after: 0 }, { after: 100 }, { after: 200 }]);
    expect(asked).toEqual([[selection, '{"n":1}']]);
  });

  it.each([
    ['data the schema refuses', { positions: [7] }, { n: 'many' }, 'CARILLON_DATA_INVALID'],
    ['data for one that is not there', { positions: [7, 9] }, { n: 1 }, 'CARILLON_DEAD_LETTER_UNKNOWN'],
    ['data that one of all refuses', {}, { n: 'many' }, 'CARILLON_DATA_INVALID'],
  ])('refuses %s, and redrives nothing', async (_what, which, data, code) => {
    const { asked, dead } = over([7]);
    await expect(dead.redrive({ ...selection, ...which }, { data })).rejects.toMatchObject({ code });
    expect(asked).toEqual([]);
  });
});
