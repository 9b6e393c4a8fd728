import { describe, expect, it } from 'vitest';
import { postgresChanges, tableEvents, type PostgresChangesOptions } from './index.ts';
import { resolveOptions } from './options.ts';

const database = 'postgres://u@h/d';

describe('options', () => {
  it('have defaults', () => {
    expect(resolveOptions({ database, tables: ['a', 's.b', { schema: 'x.y', table: 'z;' }] })).toMatchObject({
      name: 'changes',
      slot: 'carillon_changes',
      publication: 'carillon_changes',
      tables: [
        { schema: 'public', table: 'a' },
        { schema: 's', table: 'b' },
        { schema: 'x.y', table: 'z;' },
      ],
      snapshot: true,
      ddl: false,
      afterGap: 'stop',
      batchEvents: 1000,
      heartbeatMs: 10_000,
    });
  });

  it.each([
    [{}, 'tables'],
    [{ tables: [] }, 'tables'],
    [{ tables: ['a.b.c'] }, 'tables'],
    [{ tables: [''] }, 'tables'],
    [{ tables: ['a'], name: 'No' }, 'name'],
    [{ tables: ['a'], slot: 'a-b' }, 'slot'],
    [{ tables: ['a'], publication: '' }, 'publication'],
    [{ tables: ['a'], snapshot: 1 }, 'snapshot'],
    [{ tables: ['a'], ddl: 'yes' }, 'ddl'],
    [{ tables: ['a'], afterGap: 'resume' }, 'afterGap'],
    [{ tables: ['a'], batchEvents: 0 }, 'batchEvents'],
    [{ tables: ['a'], heartbeatMs: -1 }, 'heartbeatMs'],
    [{ tables: ['a'], reconnect: { first: 1 } }, 'reconnect.first'],
    [{ tables: ['a'], tabels: [] }, 'tabels'],
  ])('refuse %j by name', (given, option) => {
    const make = (): unknown => postgresChanges({ database, ...given } as PostgresChangesOptions);
    expect(make).toThrow(
      expect.objectContaining({
        code: 'CARILLON_OPTION_INVALID',
        details: { problems: expect.arrayContaining([expect.objectContaining({ option })]) },
      }),
    );
  });

  it('make a module with a state', () => {
    const changes = postgresChanges({ database, tables: ['a'], name: 'shop_1' });
    expect(changes.moduleId).toBe('postgres-changes-shop-1');
    expect(changes.status()).toMatchObject({ state: 'stopped', error: null });
  });

  it('go with definitions of a table', () => {
    const orders = tableEvents<{ id: number }>('shop', 'public', 'my orders');
    expect(orders.created.type).toBe('shop.public.my%20orders.created');
    expect(orders.truncated.type).toBe('shop.public.my%20orders.truncated');
  });
});
