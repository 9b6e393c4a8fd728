import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sqlite, type SqliteOptions } from './index.ts';

describe('sqlite', () => {
  it.each([[''], [{ directory: '' }], [{}], [{ directory: 7 }]])('refuses %j', (options) => {
    expect(() => sqlite(options as SqliteOptions)).toThrow(
      expect.objectContaining({ code: 'CARILLON_OPTION_INVALID', details: { option: 'directory' } }),
    );
  });

  it('declares what it can, before it is opened', () => {
    const engine = sqlite('somewhere');
    expect([engine.name, engine.capabilities]).toEqual([
      'sqlite',
      { durable: true, transactions: true, shared: false, outbox: false },
    ]);
  });

  it('means the directory as seen from where the process is now', () => {
    const engine = sqlite('some/where') as unknown as { store: { options: SqliteOptions } };
    expect(engine.store.options.directory).toBe(resolve('some/where'));
  });

  it('is not to be used before it is opened', async () => {
    const engine = sqlite('somewhere');
    expect(() => engine.append({ events: [] })).toThrow(expect.objectContaining({ code: 'CARILLON_STOPPED' }));
    await expect(engine.ends()).rejects.toMatchObject({ code: 'CARILLON_STOPPED' });
    await expect(engine.close()).resolves.toBeUndefined();
  });
});
