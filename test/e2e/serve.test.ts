import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  carillon,
  carillonLines,
  cloudEvent,
  publish,
  startServer,
  temporaryDirectory,
  until,
  unusedPort,
} from './carillon-process.ts';

const fixture = fileURLToPath(new URL('./fixtures/carillon.config.ts', import.meta.url));

describe('carillon serve', () => {
  it('loses nothing that was answered 202 when killed with -9 again and again', async () => {
    const data = await temporaryDirectory();
    const acked: string[] = [];
    const handled = new Set<string>();
    for (let life = 1; life <= 3; life++) {
      const server = await startServer(data);
      let next = 0;
      let killed = false;
      const publisher = async (mode: 'binary' | 'structured' | 'batch'): Promise<void> => {
        while (!killed) {
          const ids = (mode === 'batch' ? ['a', 'b', 'c'] : ['']).map((letter) => `${life}-${mode}-${next++}${letter}`);
          const events = ids.map((id) => cloudEvent(id, { subject: `key-${next % 5}`, data: { id } }));
          await publish(server.url, mode, events).then(
            () => acked.push(...ids),
            () => undefined,
          );
        }
      };
      const publishing = Promise.all([publisher('binary'), publisher('structured'), publisher('batch')]);
      const before = acked.length;
      await until(() => acked.length > before + 50 * life);
      killed = true;
      expect(await server.end('SIGKILL')).toBeNull();
      await publishing;
      for (const { kind, id } of server.told) if (kind === 'handled') handled.add(String(id));
    }

    const server = await startServer(data);
    await until(() => {
      for (const { kind, id } of server.told) if (kind === 'handled') handled.add(String(id));
      return acked.every((id) => handled.has(id));
    });
    const stored = new Set<string>();
    for (let after: number | null = 0; after !== null; ) {
      const response = await fetch(`${server.url}/events?limit=1000&after=${after}`);
      const page = (await response.json()) as { events: { event: { id: string } }[]; next: number | null };
      for (const { event } of page.events) stored.add(event.id);
      after = page.next;
    }
    expect(acked.filter((id) => !stored.has(id))).toEqual([]);
    expect(await server.end()).toBe(0);
  });

  it('drains on SIGTERM, ends with 0, and handles nothing twice', async () => {
    const data = await temporaryDirectory();
    const gate = join(data, 'gate');
    const server = await startServer(data);
    await publish(server.url, 'structured', [cloudEvent('waiting', { type: 'test.waits', data: gate })]);
    await until(() => server.stderr().includes('waiting has begun'));

    server.signal('SIGTERM');
    await until(() =>
      fetch(`${server.url}/healthz`).then(
        () => false,
        () => true,
      ),
    );
    expect(server.running()).toBe(true);
    await writeFile(gate, '');
    expect(await server.exited).toBe(0);
    expect(server.told).toMatchObject([{ kind: 'handled', id: 'waiting', attempt: 1 }]);

    const again = await startServer(data);
    await publish(again.url, 'structured', [cloudEvent('later', { type: 'test.waits', data: gate })]);
    await until(() => again.told.length > 0);
    expect(await again.end()).toBe(0);
    expect(again.told).toMatchObject([{ kind: 'handled', id: 'later' }]);
  });

  it('is forced by a second signal', async () => {
    const data = await temporaryDirectory();
    const server = await startServer(data);
    await publish(server.url, 'structured', [cloudEvent('1', { type: 'test.waits', data: join(data, 'never') })]);
    await until(() => server.stderr().includes('waiting has begun'));
    server.signal('SIGTERM');
    await until(() =>
      fetch(`${server.url}/healthz`).then(
        () => false,
        () => true,
      ),
    );
    expect(await server.end('SIGTERM')).toBe(1);
  });

  it('ends with 1 on an exception nobody catches, and says which', async () => {
    const server = await startServer(await temporaryDirectory());
    await publish(server.url, 'structured', [cloudEvent('1', { type: 'test.crashes' })]);
    expect(await server.exited).toBe(1);
    expect(server.stderr()).toContain('nobody catches this');
  });

  it('ends an open stream when it stops', async () => {
    const server = await startServer(await temporaryDirectory());
    const stream = await fetch(`${server.url}/events/stream`);
    const text = stream.text();
    expect(await server.end()).toBe(0);
    expect(await text).toContain('retry:');
  });

  it('keeps nothing with --memory', async () => {
    const data = await temporaryDirectory();
    const first = await startServer(data, { args: ['--memory'] });
    await publish(first.url, 'structured', [cloudEvent('1')]);
    await until(() => first.told.length > 0);
    expect(await first.end()).toBe(0);
    const second = await startServer(data, { args: ['--memory'] });
    expect(await (await fetch(`${second.url}/events`)).json()).toEqual({ events: [], next: null });
  });

  it('prints for people where it listens, what to try, and each handled event', async () => {
    const data = await temporaryDirectory();
    const lines = carillonLines(['serve', '--port', '0', '--data', data, '--config', fixture]);
    await until(() => lines.some((line) => line.startsWith('Try ')));
    const url = /http:\S+/.exec(lines[0] ?? '')?.[0] ?? '';
    await publish(url, 'structured', [cloudEvent('1')]);
    await publish(url, 'structured', [cloudEvent('2', { type: 'test.dies' })]);
    await until(
      () => lines.some((line) => line.startsWith('dead ')) && lines.some((line) => line.startsWith('handled ')),
    );
    const text = lines.join('\n');
    expect(text).toMatch(/^carillon listens on http:\/\/127\.0\.0\.1:\d+$/m);
    expect(text).toContain(`  data      ${data} (sqlite)`);
    expect(text).toContain(`  config    ${fixture}`);
    expect(text).toMatch(/^ {2}modules {3}tests$/m);
    expect(text).toMatch(/^ {2}handlers {2}tests\.handle +test\.event$/m);
    expect(text).toMatch(/^ {2}curl -i http\S+ -H 'content-type: application\/cloudevents\+json' -d '\{/m);
    expect(text).toMatch(/^ {2}curl -i http\S+ -H 'ce-specversion: 1\.0'/m);
    expect(text).toMatch(/ publish greeting\.requested --data /);
    expect(text).toMatch(/ tail --follow /);
    expect(text).toMatch(/^handled tests\.handle test\.event #1 attempt 1 \d+\.\d ms$/m);
    expect(text).toMatch(/^dead tests\.dies test\.dies #2 attempt 1 \d+\.\d ms: broken on purpose$/m);
  });

  it('prints nothing with --quiet', async () => {
    const data = await temporaryDirectory();
    const port = await unusedPort();
    const lines = carillonLines(['serve', '--quiet', '--port', String(port), '--data', data, '--config', fixture]);
    const url = `http://127.0.0.1:${port}`;
    await until(() =>
      publish(url, 'structured', [cloudEvent('1')]).then(
        () => true,
        () => false,
      ),
    );
    await until(async () => {
      const { handlers } = (await (await fetch(`${url}/handlers`)).json()) as { handlers: { handled: number }[] };
      return handlers.some(({ handled }) => handled > 0);
    });
    expect(lines).toEqual([]);
  });
});

/** What a server that cannot start says: one explanation, no stack. */
async function refused(args: readonly string[], cwd?: string) {
  const result = await carillon(['serve', ...args], cwd === undefined ? {} : { cwd });
  expect(result.stderr).not.toMatch(/^\s+at .+:\d+:\d+/m);
  return result;
}

describe('what keeps carillon serve from starting', () => {
  it('a port that is taken', async () => {
    const other: Server = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    const data = await temporaryDirectory();
    const { code, stderr } = await refused(['--port', String(port), '--data', data, '--config', fixture]);
    other.close();
    expect(code).toBe(1);
    expect(stderr).toContain(`port ${port} on 127.0.0.1 is taken`);
    expect(stderr).toContain('CARILLON_OPTION_INVALID');
    // What was started was stopped again: the directory is free.
    const server = await startServer(data);
    expect(await server.end()).toBe(0);
  });

  it('a data directory that another process has, named with its pid', async () => {
    const data = await temporaryDirectory();
    const server = await startServer(data);
    const { code, stderr } = await refused(['--port', '0', '--data', data, '--config', fixture]);
    expect(code).toBe(1);
    expect(stderr).toContain('CARILLON_DIRECTORY_LOCKED');
    expect(stderr).toContain(String(server.pid));
    expect(server.running()).toBe(true);
  });

  it('a public address, unless it is allowed', async () => {
    const data = await temporaryDirectory();
    const { code, stderr } = await refused(['--host', '0.0.0.0', '--port', '0', '--data', data, '--config', fixture]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('nothing here authenticates')]);
    const server = await startServer(data, { args: ['--host', '0.0.0.0', '--allow-public'] });
    expect((await fetch(`http://127.0.0.1:${server.port}/healthz`)).status).toBe(200);
  });

  it.each([
    ['that is missing', null, /carillon\.config\.ts: there is no such file/],
    ['that is no TypeScript', 'export default {', /carillon\.config\.ts: /],
    ['that throws', `throw new Error('no such luck')`, /carillon\.config\.ts: no such luck/],
    ['with an unknown option', 'export default { prot: 1 }', /there is no option "prot"/],
    [
      'with a bad module',
      `import { defineModule } from 'carillon';\nexport default { modules: [defineModule('', () => {})] }`,
      /carillon\.config\.ts: /,
    ],
    ['with a strategy for nobody', 'export default { strategies: { "a.b": {} } }', /"a\.b"/],
  ])('a configuration %s', async (_what, text, message) => {
    const directory = await temporaryDirectory();
    const file = join(directory, 'carillon.config.ts');
    if (text !== null) await writeFile(file, text);
    const { code, stderr } = await refused(['--port', '0', '--data', join(directory, 'data'), '--config', file]);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
  });

  it('tells the reason as JSON with --json', async () => {
    const { code, stderr } = await refused(['--json', '--config', '/nowhere/carillon.config.ts']);
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: 'CARILLON_OPTION_INVALID', details: { option: 'config' } },
    });
  });
});
