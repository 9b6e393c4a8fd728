import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  carillon,
  type CarillonServer,
  type CliResult,
  cloudEvent,
  startServer,
  temporaryDirectory,
  until,
  unusedPort,
} from './carillon-process.ts';

const jsonLines = ({ stdout }: CliResult): unknown[] =>
  stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);

async function start() {
  const data = await temporaryDirectory();
  const server: CarillonServer = await startServer(data);
  const run = (args: readonly string[], input = ''): Promise<CliResult> =>
    carillon([...args, '--url', server.url], { input });
  return { data, server, run };
}

describe('the client commands', () => {
  it('publish and tail', async () => {
    const { data, run } = await start();
    const published = await run(['publish', 'test.event', '--data', '{"n":1}', '--subject', 's', '--id', 'one']);
    expect(published).toEqual({ code: 0, stdout: 'published one #1\n', stderr: '' });
    expect((await run(['publish', 'test.event', '--id', 'one', '--source', '/carillon/cli'])).stdout).toBe(
      'already there: one #1\n',
    );
    const batch = JSON.stringify([cloudEvent('two'), cloudEvent('three')]);
    const answers = jsonLines(await run(['publish', '-', '--json'], batch)) as { id: string; position: number }[];
    expect(answers.map(({ id }) => id)).toEqual(['two', 'three']);
    const file = join(data, 'event.json');
    await writeFile(file, JSON.stringify(cloudEvent('four', { type: 'test.other' })));
    expect((await run(['publish', file])).stdout).toMatch(/^published four #\d+\n$/);
    expect((await run(['publish', 'test.event', '--delay', '3600000'])).stdout).toMatch(/^scheduled .+ for 2/);

    const [two, three] = answers.map(({ position }) => position);
    const lines = (await run(['tail'])).stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(4);
    expect(lines[0]).toMatch(/^#1  \S+Z  test\.event  \/carillon\/cli  s  \{"n":1\}$/);
    expect(jsonLines(await run(['tail', '--json', '--after', '1', '--type', 'test.event']))).toMatchObject([
      { position: two, event: { id: 'two' } },
      { position: three, event: { id: 'three' } },
    ]);
  });

  it('handlers, and dead list, show, redrive and discard', async () => {
    const { run, server } = await start();
    await run(['publish', 'test.dies', '--data', '"broken"', '--id', 'a']);
    await run(['publish', 'test.dies', '--data', '"broken"', '--id', 'b']);
    await until(() => server.told.filter(({ kind }) => kind === 'dead').length === 2);

    expect((await run(['handlers'])).stdout).toMatch(/^tests\.dies +test\.dies +2 +0 .*2 +0 +2$/m);
    expect(jsonLines(await run(['handlers', '--json']))).toContainEqual(
      expect.objectContaining({ name: 'tests.dies', dead: 2 }),
    );

    expect((await run(['dead', 'list'])).stdout).toMatch(/^tests\.dies +#1 +test\.dies .+ Error: broken on purpose$/m);
    expect(
      jsonLines(await run(['dead', 'list', '--json', '--subscription', 'tests.dies', '--limit', '1'])),
    ).toHaveLength(1);
    const shown = await run(['dead', 'show', 'tests.dies', '1', '--json']);
    expect(jsonLines(shown)).toMatchObject([{ position: 1, attemptCount: 1, event: { id: 'a', data: 'broken' } }]);
    expect(shown.stdout).not.toContain('"stack"');

    expect((await run(['dead', 'redrive', 'tests.dies', '1', '--data', '"mended"'])).stdout).toBe('redriven: 1\n');
    await until(() => server.told.some(({ kind, position }) => kind === 'handled' && position === 1));
    expect((await run(['dead', 'discard', 'tests.dies', '--all'])).stdout).toBe('discarded: 1\n');
    expect(await run(['dead', 'list'])).toEqual({ code: 0, stdout: '', stderr: 'no dead letters\n' });
    expect((await run(['dead', 'show', 'tests.dies', '1'])).code).toBe(4);
  });

  it('end with codes that scripts can tell apart', async () => {
    const { run } = await start();
    const outcome = async (args: readonly string[], input?: string) => {
      const { code, stderr } = await run(args, input);
      return [code, /CARILLON_\w+/.exec(stderr)?.[0]];
    };
    expect(await outcome(['publish', 'test.event'])).toEqual([0, undefined]);
    expect(await outcome(['publish'])).toEqual([2, undefined]);
    expect(await outcome(['publish', 'test.event', '--data', 'no json'])).toEqual([2, undefined]);
    expect(await outcome(['publish', '-'], '{"specversion":"1.0"}')).toEqual([2, 'CARILLON_ATTRIBUTE_MISSING']);
    expect(await outcome(['publish', 'test.event', '--subject', ''])).toEqual([2, 'CARILLON_ATTRIBUTE_INVALID']);
    expect(await outcome(['tail', '--type', 'a.>.b'])).toEqual([2, 'CARILLON_PATTERN_INVALID']);
    expect(await outcome(['dead', 'show', 'tests.dies', '77'])).toEqual([4, 'CARILLON_DEAD_LETTER_UNKNOWN']);
    expect(await outcome(['dead', 'redrive', 'tests.dies', '77'])).toEqual([4, 'CARILLON_DEAD_LETTER_UNKNOWN']);
    expect(await outcome(['publish', 'test.refused'])).toEqual([5, 'CARILLON_REFUSED']);
    expect(await outcome(['publish', 'test.event', '--subject', 's', '--expected-revision', '7'])).toEqual([
      5,
      'CARILLON_REVISION_CONFLICT',
    ]);
  });

  it('say that no server answers, and end with 3', async () => {
    const url = `http://127.0.0.1:${await unusedPort()}`;
    for (const args of [['publish', 'test.event'], ['tail'], ['tail', '--follow'], ['handlers'], ['dead', 'list']]) {
      const { code, stdout, stderr } = await carillon([...args, '--url', url]);
      expect([code, stdout]).toEqual([3, '']);
      expect(stderr).toBe(
        `carillon: no server answers at ${url} (ECONNREFUSED)\n` +
          '  Start one with "carillon serve", or name another with --url or CARILLON_URL.\n',
      );
    }
  });
});
