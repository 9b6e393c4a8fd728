import { describe, expect, it } from 'vitest';
import { createGuard } from './guard.ts';

const refused = (header: string): Error =>
  expect.objectContaining({ status: 403, problem: expect.objectContaining({ details: { header } }) }) as Error;

describe('a gateway on loopback', () => {
  const guard = createGuard('127.0.0.1');

  it.each(['localhost', 'LOCALHOST:4600', '127.0.0.1:1', '[::1]:4600', '[::1]'])('answers to the Host %s', (host) => {
    expect(() => guard({ host })).not.toThrow();
  });

  it.each([
    'evil.example',
    '127.0.0.1.evil.example',
    'localhost.evil.example:4600',
    '',
    '10.0.0.1',
    'localhost:80:80',
    '[::2]',
  ])('refuses the Host %j', (host) => {
    expect(() => guard({ host })).toThrow(refused('host'));
  });

  it('refuses requests of pages of other sites', () => {
    const host = 'localhost:4600';
    expect(() => guard({ host, 'sec-fetch-site': 'cross-site' })).toThrow(refused('sec-fetch-site'));
    expect(() => guard({ host, 'sec-fetch-site': 'same-site' })).toThrow(refused('sec-fetch-site'));
    expect(() => guard({ host, origin: 'http://evil.example' })).toThrow(refused('origin'));
    expect(() => guard({ host, origin: 'http://localhost:4601' })).toThrow(refused('origin'));
    expect(() => guard({ host, origin: 'null' })).toThrow(refused('origin'));
  });

  it('serves its own pages and tools that are no browser', () => {
    const host = 'localhost:4600';
    expect(() => guard({ host, origin: 'http://localhost:4600', 'sec-fetch-site': 'same-origin' })).not.toThrow();
    expect(() => guard({ host, 'sec-fetch-site': 'none' })).not.toThrow();
  });
});

describe('a gateway on a public address', () => {
  it('cannot know its names, and still refuses pages of other sites', () => {
    const guard = createGuard('0.0.0.0');
    expect(() => guard({ host: 'carillon.example' })).not.toThrow();
    expect(() => guard({ host: 'carillon.example', origin: 'https://evil.example' })).toThrow(refused('origin'));
  });
});
