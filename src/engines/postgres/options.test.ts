import { describe, expect, it } from 'vitest';
import { resolveOptions, type PostgresOptions } from './options.ts';

describe('the options of postgres()', () => {
  it('a URL alone, with every default', () => {
    expect(resolveOptions('postgres://h/d')).toEqual({
      database: { url: 'postgres://h/d' },
      schema: 'carillon',
      leaseMs: 15_000,
      lookMs: 250,
      unreachableMs: 10_000,
      transactionsMax: 8,
      segmentEvents: 4_194_304,
      retention: null,
    });
  });

  it('the address of the article, in one object with the settings', () => {
    const address = { name: 'shop', host: 'h', port: 5432, user: 'u', password: 'p', database: 'd' };
    const { database, schema, lookMs } = resolveOptions({ ...address, schema: 'events', lookMs: 10 });
    expect({ database, schema, lookMs }).toEqual({ database: address, schema: 'events', lookMs: 10 });
  });

  it('a pool is passed on as it is', () => {
    const pool = { connect: () => Promise.reject(new Error('not used')) };
    const { database } = resolveOptions({ pool, unreachableMs: 0 });
    expect((database as { pool: unknown }).pool).toBe(pool);
  });

  it.each([
    [undefined, 'database', 'a URL or options'],
    [null, 'database', 'a URL or options'],
    [7, 'database', 'a URL or options'],
    [{ url: 'x', schema: '' }, 'schema', 'schema must be a name'],
    [{ url: 'x', schema: 5 }, 'schema', 'schema must be a name'],
    [{ url: 'x', schema: 'pg_mine' }, 'schema', 'none that begins with pg_'],
    [{ url: 'x', leaseMs: 99 }, 'leaseMs', 'from 100 to 3600000, not 99'],
    [{ url: 'x', leaseMs: 3_600_001 }, 'leaseMs', 'not 3600001'],
    [{ url: 'x', lookMs: '50' }, 'lookMs', 'a whole number'],
    [{ url: 'x', lookMs: 10.5 }, 'lookMs', 'a whole number'],
    [{ url: 'x', unreachableMs: -1 }, 'unreachableMs', 'not -1'],
    [{ url: 'x', unreachableMs: Infinity }, 'unreachableMs', 'not Infinity'],
    [{ url: 'x', transactionsMax: 0 }, 'transactionsMax', 'from 1 to 1000'],
    [{ url: 'x', segmentEvents: 999 }, 'segmentEvents', 'from 1000 to'],
    [{ url: 'x', segmentEvents: null }, 'segmentEvents', 'not null'],
  ])('%j is refused, and %s named', (given, option, what) => {
    expect(() => resolveOptions(given as PostgresOptions)).toThrow(
      expect.objectContaining({
        code: 'CARILLON_OPTION_INVALID',
        message: expect.stringContaining(what) as string,
        details: { option },
      }),
    );
  });
});
