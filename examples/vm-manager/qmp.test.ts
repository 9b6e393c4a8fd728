import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { connectQmp, QMP_COMMANDS, type QmpCommand, type QmpEvent, REPLY_BYTES_MAX } from './qmp.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

const GREETING = '{"QMP":{"version":{},"capabilities":[]}}\n';

/** A server that says what the test tells it to. `answer` gets each line that comes. */
async function server(answer: (line: string, socket: Socket) => void, greeting: string | Buffer = GREETING) {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-qmp-'));
  const path = join(folder, 'qmp');
  const received: string[] = [];
  const listening = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.write(greeting);
    socket.on('data', (bytes) => {
      for (const line of bytes.toString().trim().split('\n')) {
        received.push(line);
        answer(line, socket);
      }
    });
    cleanups.push(() => socket.destroy());
  });
  await new Promise<void>((resolve) => listening.listen(path, resolve));
  cleanups.push(() => {
    listening.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const events: QmpEvent[] = [];
  let lost: (why: string) => void = () => undefined;
  const whenLost = new Promise<string>((resolve) => (lost = resolve));
  const connect = () => connectQmp(path, { event: (event) => events.push(event), lost: (why) => lost(why) });
  return { connect, received, events, whenLost };
}

const idOf = (line: string): unknown => (JSON.parse(line) as { id: unknown }).id;
const ok = (line: string, value: unknown = {}): string => `${JSON.stringify({ return: value, id: idOf(line) })}\n`;
/** Answers the handshake, and the rest as the test says. */
const after = (answer: (line: string, socket: Socket) => void) => (line: string, socket: Socket) =>
  line.includes('qmp_capabilities') ? void socket.write(ok(line)) : answer(line, socket);

describe('a QMP connection', () => {
  it('gives each command its own answer, whatever their order', async () => {
    const held: string[] = [];
    const { connect } = await server(
      after((line, socket) => {
        held.push(line);
        if (held.length === 2) for (const one of held.toReversed()) socket.write(ok(one, idOf(one)));
      }),
    );
    const qmp = await connect();
    const [first, second] = await Promise.all([qmp.execute('stop'), qmp.execute('cont')]);
    expect(Number(first)).toBeLessThan(Number(second));
    qmp.close();
  });

  it('tells events, also in the middle of a character and of a line', async () => {
    const event = Buffer.from('{"event":"STOP","data":{"reason":"größer"}}\n');
    const { connect, events } = await server(
      after((line, socket) => {
        // Byte by byte: every cut there can be.
        for (const byte of event) socket.write(Buffer.from([byte]));
        socket.write(ok(line));
      }),
    );
    const qmp = await connect();
    await qmp.execute('query-status');
    expect(events).toEqual([{ event: 'STOP', data: { reason: 'größer' } }]);
    qmp.close();
  });

  it("rejects with QEMU's own error, bounded", async () => {
    const { connect } = await server(
      after((line, socket) => {
        const error = { class: 'GenericError', desc: `Duplicate ID ${'x'.repeat(5000)}` };
        socket.write(`${JSON.stringify({ error, id: idOf(line) })}\n`);
      }),
    );
    const qmp = await connect();
    const error: unknown = await qmp.execute('device_add').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'refused',
      message: expect.stringMatching(/^QEMU refused device_add: Duplicate/),
    });
    expect((error as Error).message.length).toBeLessThan(600);
    qmp.close();
  });

  it('sends no command that is not on the list, human-monitor-command first of all', async () => {
    const { connect, received } = await server(after((line, socket) => void socket.write(ok(line))));
    const qmp = await connect();
    for (const command of ['human-monitor-command', 'migrate', 'qom-set', 'dump-guest-memory', '__proto__', 'stop\n']) {
      await expect(qmp.execute(command as QmpCommand)).rejects.toMatchObject({ code: 'refused' });
    }
    expect(QMP_COMMANDS).not.toContain('human-monitor-command');
    await qmp.execute('stop');
    expect(received.map((line) => (JSON.parse(line) as { execute: string }).execute)).toEqual([
      'qmp_capabilities',
      'stop',
    ]);
    qmp.close();
  });

  it.each([
    ['a line that is too long', Buffer.alloc(REPLY_BYTES_MAX + 2, 'x')],
    ['a line that is no JSON', Buffer.from('{"event":\n')],
    ['a line that is no object', Buffer.from('[]\n')],
  ])('closes on %s, and fails what is in flight', async (_what, bytes) => {
    const { connect, whenLost } = await server(after((_line, socket) => void socket.write(bytes)));
    const qmp = await connect();
    await expect(qmp.execute('stop')).rejects.toMatchObject({ code: 'host' });
    expect(qmp.closed).toBe(true);
    await expect(qmp.execute('cont')).rejects.toMatchObject({ code: 'host' });
    expect(await whenLost).toMatch(/a line/);
  });

  it('fails what is in flight when QEMU ends', async () => {
    const { connect, whenLost } = await server(after((_line, socket) => void socket.end()));
    const qmp = await connect();
    await expect(qmp.execute('quit')).rejects.toMatchObject({ code: 'host' });
    expect(await whenLost).toBe('QEMU has closed the connection');
  });

  it('ignores answers that nobody asked for, and goes on', async () => {
    const { connect } = await server(
      after((line, socket) => void socket.write(`{"return":1,"id":99}\n{"return":2}\n{"id":null}\n\n${ok(line, 3)}`)),
    );
    const qmp = await connect();
    expect(await qmp.execute('query-status')).toBe(3);
    qmp.close();
  });

  it('refuses what does not greet', async () => {
    const { connect } = await server(() => undefined, '{"hello":1}\n');
    await expect(connect()).rejects.toMatchObject({ code: 'host', message: 'no greeting of QMP' });
  });

  it('survives whatever is sent: an answer or an error, and nothing else', { timeout: 60_000 }, async () => {
    const json = fc.json({ maxDepth: 4 }).map((text) => Buffer.from(`${text}\n`));
    const noise = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    const event = fc.json().map((data) => Buffer.from(`{"event":"RESET","data":${data}}\n`));
    const chunks = fc.array(fc.oneof(json, noise, event), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(chunks, async (sent) => {
        const { connect } = await server(
          after((_line, socket) => {
            for (const chunk of sent) socket.write(chunk);
            socket.end();
          }),
        );
        const qmp = await connect();
        const outcome = await qmp.execute('query-status').then(
          () => 'answered',
          (error: unknown) => (error as { name: string }).name,
        );
        expect(['answered', 'HypervisorError']).toContain(outcome);
        qmp.close();
      }),
      { numRuns: 200 },
    );
  });
});
