import { describe, expect, it } from 'vitest';
import { createPinoLogger } from './pino-logger.ts';

function logged(level?: 'debug' | 'warn') {
  const lines: string[] = [];
  const log = createPinoLogger({
    ...(level ? { level } : {}),
    destination: { write: (line) => void lines.push(line) },
  });
  return { log, lines, parsed: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

describe('createPinoLogger', () => {
  it('writes one JSON line each, with the fields of its children', () => {
    const { log, parsed } = logged();
    log.child({ subscription: 'a.b' }).child({ attempt: 2 }).warn('careful', { key: 'k' });
    expect(parsed()).toEqual([
      expect.objectContaining({
        level: 40,
        msg: 'careful',
        subscription: 'a.b',
        attempt: 2,
        key: 'k',
        pid: process.pid,
      }),
    ]);
  });

  it('keeps line breaks and escapes of what it is given inside its line', () => {
    const { log, lines } = logged();
    log.info('two\nlines \u001b[31m', { field: 'a\r\nb' });
    expect(lines).toHaveLength(1);
    expect(lines[0]?.trimEnd()).not.toMatch(/\p{Control}/u);
  });

  it('heeds its level', () => {
    const { log, lines } = logged('warn');
    log.debug('no');
    log.info('no');
    log.error('yes');
    expect(lines).toHaveLength(1);
  });
});
