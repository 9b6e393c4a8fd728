import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** The public entries, and where each stands in the source and in the built package. */
const entries = {
  carillon: 'index',
  'carillon/memory': 'engines/memory/index',
  'carillon/postgres': 'engines/postgres/index',
  'carillon/sqlite': 'engines/sqlite/index',
  'carillon/server': 'server/index',
  'carillon/gateway': 'gateway/index',
  'carillon/sources/outbox': 'sources/outbox/index',
  'carillon/sources/postgres-changes': 'sources/postgres-changes/index',
  'carillon/testing': 'testing/index',
};

/** Exact matches only: `carillon` must not swallow `carillon/memory`. */
const entriesIn = (folder: 'src' | 'dist', extension: 'ts' | 'js') =>
  Object.entries(entries).map(([name, path]) => ({
    find: new RegExp(`^${name}$`),
    replacement: at(`./${folder}/${path}.${extension}`),
  }));

/** Tests of the source load every module from src/, so that there is one copy of each. */
const fromSource = { alias: entriesIn('src', 'ts') };
/** End-to-end tests use what is published. */
const fromPackage = { alias: entriesIn('dist', 'js') };

export default defineConfig({
  test: {
    globalSetup: ['./scripts/vitest-global-setup.mjs'],
    pool: 'forks',
    maxWorkers: 2,
    allowOnly: false,
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      exclude: ['src/**/*.test.ts'],
      reporter: ['text-summary', 'html'],
      reportsDirectory: 'coverage',
    },
    projects: [
      {
        extends: true,
        resolve: fromSource,
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts'],
          testTimeout: 10_000,
          hookTimeout: 10_000,
        },
      },
      {
        extends: true,
        resolve: fromSource,
        test: {
          name: 'conformance',
          include: ['test/conformance/**/*.test.ts'],
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
      {
        extends: true,
        resolve: fromSource,
        test: {
          name: 'postgres',
          include: ['test/postgres/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
          // Each test file starts real processes, and some a server of their own.
          fileParallelism: false,
        },
      },
      {
        extends: true,
        resolve: fromSource,
        test: {
          name: 'property',
          include: ['test/property/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 30_000,
        },
      },
      {
        extends: true,
        resolve: fromSource,
        test: {
          name: 'examples',
          include: ['examples/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 30_000,
        },
      },
      {
        extends: true,
        resolve: fromPackage,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
          // Each test file starts real processes; one file at a time keeps their timing honest.
          fileParallelism: false,
        },
      },
    ],
  },
});
