import { describe, expect, it } from 'vitest';
import { deliveryColumns, deliveryOf, eventColumns, eventOf, stateNumbers } from './rows.ts';

const event = [
  '9007199254740991',
  '5',
  63,
  'id',
  '/s',
  't',
  's',
  '2026-01-01T00:00:00Z',
  '{"a":1}',
  '{"x":2}',
  null,
  12,
];

describe('rows as the database gives them', () => {
  it('an event: 64-bit numbers come as text', () => {
    expect(eventOf(event)).toEqual({
      position: Number.MAX_SAFE_INTEGER,
      recordedMs: 5,
      slot: 63,
      id: 'id',
      source: '/s',
      type: 't',
      subject: 's',
      time: '2026-01-01T00:00:00Z',
      attributes: '{"a":1}',
      data: '{"x":2}',
      askedBy: 12,
    });
    expect(eventColumns('e').split(', ').length).toBe(event.length);
  });

  it('an event whose data are bytes', () => {
    const cells = [...event];
    cells[9] = null;
    cells[10] = Buffer.from([0, 255]) as unknown as string;
    const { data } = eventOf(cells);
    expect(data).toEqual(new Uint8Array([0, 255]));
    expect(Buffer.isBuffer(data)).toBe(false);
  });

  const delivery = [3, '17', 8, stateNumbers.dead, 'k', 2, '99', true, '[{"attempt":1}]', '{"edited":1}'];

  it('a delivery, alone and with its event', () => {
    const alone = deliveryOf([...delivery, 'm.h']);
    expect(alone).toMatchObject({
      subscription: 3,
      position: 17,
      slot: 8,
      state: 'dead',
      key: 'k',
      attempts: 2,
      atMs: 99,
      holds: true,
      records: [{ attempt: 1 }],
      data: '{"edited":1}',
      subscriptionName: 'm.h',
      event: undefined,
    });
    expect(deliveryColumns.split(', ').length).toBe(delivery.length);
    expect(deliveryOf([...delivery, 'm.h', ...event]).event?.id).toBe('id');
    // Retention took it.
    expect(deliveryOf([...delivery, 'm.h', ...event.map(() => null)]).event).toBeUndefined();
  });

  it('every state has a number of its own, and comes back', () => {
    for (const [state, number] of Object.entries(stateNumbers)) {
      const cells: unknown[] = [...delivery];
      cells[3] = number;
      expect(deliveryOf(cells).state).toBe(state);
    }
  });
});
