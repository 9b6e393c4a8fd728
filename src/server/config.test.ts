import { describe, expect, it } from 'vitest';
import { defaultLimits, defineModule } from '../core/index.ts';
import { isLoopback } from './address.ts';
import { resolveConfig, type ServerConfig } from './config.ts';

const invalid = (option: string): Error =>
  expect.objectContaining({ code: 'CARILLON_OPTION_INVALID', details: expect.objectContaining({ option }) }) as Error;

const machines = defineModule('machines', (m) => {
  m.handle('vm.start', () => undefined, { name: 'start', timeoutMs: 1_000, retry: { kind: 'none' } });
  m.handleBatch('vm.stop', () => undefined, { name: 'stop' });
});

describe('resolveConfig', () => {
  it('decides every option', () => {
    expect(resolveConfig({})).toEqual({
      modules: [],
      strategies: {},
      engine: undefined,
      host: '127.0.0.1',
      port: 4600,
      dataDirectory: '.carillon',
      limits: defaultLimits,
      http: {},
      stopDeadlineMs: 10_000,
    });
  });

  it.each([
    ['modules', { modules: [{}] }],
    ['modules', { modules: machines }],
    ['engine', { engine: 'sqlite' }],
    ['host', { host: '' }],
    ['port', { port: 65_536 }],
    ['port', { port: '4600' }],
    ['port', { port: -1 }],
    ['dataDirectory', { dataDirectory: '' }],
    ['limits', { limits: 3 }],
    ['limits.eventByteMax', { limits: { eventByteMax: 3 } }],
    ['http', { http: [] }],
    ['strategies', { strategies: { 'machines.start': 3 } }],
    ['allowPublic', { allowPublic: 'yes' }],
    ['stopDeadlineMs', { stopDeadlineMs: 1.5 }],
    ['prot', { prot: 4600 }],
    ['constructor', { constructor: 1 }],
    ['config', null],
  ])('refuses a bad %s', (option, config) => {
    expect(() => resolveConfig(config as ServerConfig)).toThrow(invalid(option));
  });

  it('refuses a public address unless told otherwise, and says why', () => {
    for (const host of ['0.0.0.0', '::', '192.168.1.5', 'example.com']) {
      expect(() => resolveConfig({ host })).toThrow(invalid('host'));
      expect(() => resolveConfig({ host })).toThrow(/nothing here authenticates/);
      expect(resolveConfig({ host, allowPublic: true }).host).toBe(host);
    }
  });
});

describe('isLoopback', () => {
  it.each(['localhost', 'LocalHost', '127.0.0.1', '127.9.9.9', '::1'])('%s is', (host) => {
    expect(isLoopback(host)).toBe(true);
  });
  it.each(['0.0.0.0', '::', '10.0.0.1', '127.evil.example', '128.0.0.1', ''])('%j is not', (host) => {
    expect(isLoopback(host)).toBe(false);
  });
});
