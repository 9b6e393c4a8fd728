import { describe, expect, it } from 'vitest';
import type { EventRow } from '../../engine/log/index.ts';
import { PostgresOutbox } from './outbox.ts';

const row = (id: string, data: string | Uint8Array | null = null): EventRow => ({
  position: 0,
  recordedMs: 0,
  slot: 3,
  askedBy: null,
  id,
  source: '/s',
  type: 't',
  subject: null,
  time: null,
  attributes: null,
  data,
});

class Client {
  readonly asked: [string, unknown[] | undefined][] = [];
  failure: Error | null = null;
  query(text: string, values?: unknown[]): Promise<unknown> {
    this.asked.push([text, values]);
    return this.failure ? Promise.reject(this.failure) : Promise.resolve({ rows: [] });
  }
}

const said = (code: string): Error => Object.assign(new Error('what it says'), { severity: 'ERROR', code });

describe('publishing within an application’s transaction', () => {
  it('is one call of the schema’s function, however many events', async () => {
    const client = new Client();
    await new PostgresOutbox('my "own"').append(client, [row('a'), row('b')], null);
    expect(client.asked.map(([text]) => text)).toEqual([
      'SELECT "my ""own""".enqueue($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)',
    ]);
    expect(client.asked[0]?.[1]?.[2]).toBe('a\x01b');
  });

  it('of nothing asks nothing', async () => {
    const client = new Client();
    await new PostgresOutbox('s').append(client, [], null);
    expect(client.asked).toEqual([]);
  });

  it('for later is a call for each, with bytes as bytes', async () => {
    const client = new Client();
    await new PostgresOutbox('s').append(client, [row('a', '1'), row('b', new Uint8Array([0, 255]))], 77);
    expect(client.asked.map(([text]) => text.includes('.enqueue_scheduled('))).toEqual([true, true]);
    expect(client.asked[1]?.[1]?.slice(-2)).toEqual([null, Buffer.from([0, 255])]);
    expect(client.asked[0]?.[1]?.[0]).toBe(77);
  });

  it.each(['42883', '3F000', '42P01'])('SQLSTATE %s: it is a transaction of another database', async (code) => {
    const client = new Client();
    client.failure = said(code);
    await expect(new PostgresOutbox('s').append(client, [row('a')], null)).rejects.toMatchObject({
      code: 'CARILLON_OPTION_INVALID',
      details: { option: 'tx', sqlState: code },
      cause: client.failure,
    });
  });

  it('what else the server says is the transaction’s failure; what it did not say is thrown as it is', async () => {
    const client = new Client();
    client.failure = said('25P02');
    const outbox = new PostgresOutbox('s');
    await expect(outbox.append(client, [row('a')], null)).rejects.toMatchObject({
      code: 'CARILLON_TRANSACTION_FAILED',
      details: { sqlState: '25P02' },
    });
    client.failure = new Error('Client was closed and is not queryable');
    await expect(outbox.append(client, [row('a')], null)).rejects.toBe(client.failure);
  });
});
