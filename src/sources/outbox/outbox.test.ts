import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defineEvent, type Event, type TransactionClient } from '../../core/index.ts';
import { outbox } from './outbox.ts';

const Placed = defineEvent('order.placed', { data: z.object({ order: z.string(), total: z.number().default(0) }) });

/** A client that keeps what it is asked, and answers with `error` if there is one. */
function recording(error?: Error): TransactionClient & { readonly asked: [string, unknown[] | undefined][] } {
  const asked: [string, unknown[] | undefined][] = [];
  return {
    asked,
    query: async (text, values) => {
      asked.push([text, values]);
      if (error) throw error;
      return {};
    },
  };
}

const raw = (more: Record<string, unknown>): Event =>
  ({ specversion: '1.0', id: '1', source: '/a', type: 'order.placed', ...more }) as unknown as Event;

const serverError = (code: string): Error => Object.assign(new Error('no'), { code, severity: 'ERROR' });

describe('outbox.publish', () => {
  it('adds events in the JSON format, in one call, and resolves with their ids', async () => {
    const client = recording();
    const events = [Placed({ order: 'A', total: 1 }), raw({ data: new Uint8Array([1]), time: '2026-01-01T00:00:00Z' })];
    expect(await outbox().publish(client, events)).toEqual(events.map(({ id }) => id));
    const [[text, values] = []] = client.asked;
    expect(client.asked).toHaveLength(1);
    expect(text).toBe('SELECT "carillon_outbox".publish_all($1)');
    const [first = '', second = ''] = (values ?? [])[0] as string[];
    expect(JSON.parse(first)).toMatchObject({ type: 'order.placed', data: { order: 'A', total: 1 } });
    expect(JSON.parse(second)).toMatchObject({ id: '1', data_base64: 'AQ==', time: '2026-01-01T00:00:00Z' });
  });

  it('asks nothing of the database for no event', async () => {
    const client = recording();
    expect(await outbox().publish(client, [])).toEqual([]);
    expect(client.asked).toEqual([]);
  });

  it('validates raw events by the definitions it is given, as the bus does', async () => {
    const client = recording();
    const { publish } = outbox({ events: [Placed] });
    await publish(client, raw({ data: { order: 'A', more: 1 } }));
    expect(JSON.parse(String(client.asked[0]?.[1]?.[0]))).toMatchObject({
      data: { order: 'A', total: 0 },
    });
    await expect(publish(client, raw({ data: { order: 1 } }))).rejects.toMatchObject({ code: 'CARILLON_DATA_INVALID' });
  });

  it.each([
    ['CARILLON_ATTRIBUTE_MISSING', { id: undefined }],
    ['CARILLON_ATTRIBUTE_INVALID', { time: 'noon' }],
    ['CARILLON_ATTRIBUTE_NAME', { Upper: 'x' }],
    ['CARILLON_DATA_NOT_JSON', { data: { when: new Date(0) } }],
    ['CARILLON_EVENT_TOO_LARGE', { data: 'x'.repeat(1000) }],
  ])('refuses with %s, before the database is asked', async (code, more) => {
    const client = recording();
    const { publish } = outbox({ limits: { eventBytesMax: 1000 } });
    await expect(publish(client, [raw({ id: '0' }), raw(more)])).rejects.toMatchObject({ code });
    expect(client.asked).toEqual([]);
  });

  it('bounds a batch', async () => {
    const { publish } = outbox({ limits: { batchEventsMax: 1 } });
    await expect(publish(recording(), [raw({}), raw({ id: '2' })])).rejects.toMatchObject({
      code: 'CARILLON_BATCH_TOO_LARGE',
      details: { limit: 'batchEventsMax' },
    });
  });

  it.each([
    ['CARILLON_OPTION_INVALID', serverError('42883')],
    ['CARILLON_TRANSACTION_FAILED', serverError('25P02')],
  ])('fails with %s when the database says so', async (code, error) => {
    await expect(outbox().publish(recording(error), raw({}))).rejects.toMatchObject({ code, cause: error });
  });

  it('refuses a schema that cannot be one', () => {
    for (const schema of ['', 'pg_mine']) {
      expect(() => outbox({ schema })).toThrow(expect.objectContaining({ code: 'CARILLON_OPTION_INVALID' }) as Error);
    }
  });
});
