import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from './load-config.ts';

let directory = '';

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'carillon-config-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function write(name: string, text: string): Promise<string> {
  const file = join(directory, name);
  await writeFile(file, text);
  return file;
}

describe('loadConfig', () => {
  it('is empty where there is none', async () => {
    expect(await loadConfig(undefined, join(directory, 'nowhere'))).toEqual({ config: {}, file: null });
  });

  it('finds TypeScript by its usual name, enums and imports of neighbours included', async () => {
    await write('port.ts', 'export enum Port { Usual = 4711 }\n');
    const file = await write(
      'carillon.config.ts',
      `import { Port } from './port.ts';\nexport default { port: Port.Usual as number, dataDirectory: 'd' };\n`,
    );
    expect(await loadConfig(undefined, directory)).toEqual({
      config: { port: 4711, dataDirectory: join(directory, 'd') },
      file,
    });
  });

  it('takes the file that is named, JavaScript too', async () => {
    const file = await write('other.mjs', `export default { host: '::1', dataDirectory: '/absolute' };\n`);
    expect(await loadConfig('other.mjs', directory)).toEqual({
      config: { host: '::1', dataDirectory: '/absolute' },
      file,
    });
  });

  it.each([
    ['missing.ts', null, /missing\.ts: there is no such file/],
    ['syntax.ts', 'export default {', /syntax\.ts: /],
    ['throws.ts', `throw new Error('no such secret')`, /throws\.ts: no such secret$/],
    ['import.ts', `import './nowhere.ts'; export default {}`, /import\.ts: .*nowhere/],
    ['bare.ts', `export const port = 1`, /bare\.ts: it has no default export/],
    ['number.mjs', `export default 3`, /number\.mjs: it has no default export/],
  ])('tells file and reason of %s in one line', async (name, text, message) => {
    if (text !== null) await write(name, text);
    const error: unknown = await loadConfig(name, directory).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'CARILLON_OPTION_INVALID',
      details: { option: 'config', file: join(directory, name) },
      message: expect.stringMatching(message),
    });
    expect((error as Error).message).not.toContain('\n');
  });
});
