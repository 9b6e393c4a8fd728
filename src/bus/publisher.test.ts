import { describe, expect, it } from 'vitest';
import { makeEvent, type Event } from '../core/index.ts';
import { memory } from '../engines/memory/index.ts';
import { createBus } from './create-bus.ts';

const happened = (id: string): Event =>
  makeEvent({ specversion: '1.0', id, source: '/s', type: 'thing.happened', subject: 'k' }, null);

describe('publishing', () => {
  it('appends in the order of the calls, batches among single events', async () => {
    const bus = await createBus({ engine: memory() });
    await Promise.all([
      bus.publish([happened('1'), happened('2')]),
      bus.publish(happened('3')),
      bus.publish([happened('4')]),
    ]);
    const { events } = await bus.readPage();
    expect(events.map(({ event }) => event.id)).toEqual(['1', '2', '3', '4']);
    await bus.stop();
  });
});
