import { existsSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createJiti } from 'jiti';
import { carillonError, type ErrorCode, isCarillonError, toError } from '../core/index.ts';
import type { ServerConfig } from '../server/index.ts';

export interface LoadedConfig {
  readonly config: ServerConfig;
  /** Where it stood; null when there was none and none was asked for. */
  readonly file: string | null;
}

const NAMES = ['carillon.config.ts', 'carillon.config.mts', 'carillon.config.js', 'carillon.config.mjs'];

/**
 * The configuration in `file`, or in the working directory under its usual name. A relative `dataDirectory` in it is
 * meant from where the file stands. Fails with a catalogued error that names the file and the reason.
 */
export async function loadConfig(file: string | undefined, directory: string): Promise<LoadedConfig> {
  const path = file === undefined ? findConfig(directory) : resolve(directory, file);
  if (path === null) return { config: {}, file: null };
  if (!existsSync(path)) throw unreadable('CARILLON_OPTION_INVALID', path, 'there is no such file');
  const config = await importConfig(path);
  const { dataDirectory } = config;
  if (typeof dataDirectory !== 'string' || isAbsolute(dataDirectory)) return { config, file: path };
  return { config: { ...config, dataDirectory: join(dirname(path), dataDirectory) }, file: path };
}

function findConfig(directory: string): string | null {
  return NAMES.map((name) => join(directory, name)).find((path) => existsSync(path)) ?? null;
}

async function importConfig(path: string): Promise<ServerConfig> {
  let module: { readonly default?: unknown };
  try {
    module = await importModule(path);
  } catch (thrown) {
    const code = isCarillonError(thrown) ? thrown.code : 'CARILLON_OPTION_INVALID';
    throw unreadable(code, path, reasonOf(thrown), thrown);
  }
  const config = module.default;
  if (typeof config !== 'object' || config === null) {
    throw unreadable('CARILLON_OPTION_INVALID', path, 'it has no default export made with defineConfig({ ... })');
  }
  return config;
}

/** What Node says when it cannot import TypeScript, or TypeScript of this kind. */
const NOT_NATIVE = new Set([
  'ERR_UNKNOWN_FILE_EXTENSION',
  'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX',
  'ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING',
  'ERR_INVALID_TYPESCRIPT_SYNTAX',
  'ERR_MODULE_NOT_FOUND',
]);

async function importModule(path: string): Promise<{ readonly default?: unknown }> {
  try {
    return (await import(pathToFileURL(path).href)) as { default?: unknown };
  } catch (error) {
    const { code } = toError(error) as NodeJS.ErrnoException;
    if (code === undefined || !NOT_NATIVE.has(code)) throw error;
  }
  // Node's own import for everything it can import, so that there is one copy of each package.
  const jiti = createJiti(pathToFileURL(path).href, { fsCache: false, tryNative: true, interopDefault: false });
  return jiti.import(path);
}

function reasonOf(thrown: unknown): string {
  const { name, message } = toError(thrown);
  const [first = ''] = message.split('\n');
  return name === 'Error' || name === 'CarillonError' ? first : `${name}: ${first}`;
}

function unreadable(code: ErrorCode, file: string, reason: string, cause?: unknown): Error {
  return carillonError(code, `${file}: ${reason}`, { option: 'config', file }, cause);
}
