import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { temporaryDirectory } from './carillon-process.ts';

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const snippetFile = at('examples/first-handler/first-handler.ts');
const readme = await readFile(at('README.md'), 'utf8');
const snippet = await readFile(snippetFile, 'utf8');
/** The code blocks of a language, in order. */
const blocks = (language: string): string[] =>
  [...readme.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].flatMap(([, of, code]) => (of === language ? [code ?? ''] : []));

describe('README.md', () => {
  it('leads with npm start and npm test', () => {
    expect(blocks('sh')[0]).toMatch(/^npm start\b.*\nnpm test\b.*\n$/);
  });

  it('shows the first handler as it stands in examples/, in under 20 lines', () => {
    expect(blocks('ts')[0]).toBe(snippet);
    expect(snippet.trimEnd().split('\n').length).toBeLessThan(20);
  });

  it('shows a first handler that runs against the built package', async () => {
    const cwd = await temporaryDirectory();
    const jiti = at('node_modules/jiti/lib/jiti-cli.mjs');
    const run = promisify(execFile);
    const first = await run(process.execPath, [jiti, snippetFile], { cwd });
    expect(first.stdout).toBe('billed A-1: 42\n');
    expect(readme).toContain(`It prints \`${first.stdout.trim()}\``);
    // Started again on the same data, it goes on where it was: the first event is not handled twice.
    const second = await run(process.execPath, [jiti, snippetFile], { cwd });
    expect(second.stdout).toBe('billed A-1: 42\n');
  });

  it('names only commands that package.json has', async () => {
    const { scripts } = JSON.parse(await readFile(at('package.json'), 'utf8')) as { scripts: Record<string, string> };
    const named = [...readme.matchAll(/\bnpm (?:run ([\w:-]+)|(start|test)\b)/g)].map(([, run, short]) => run ?? short);
    expect(named).toContain('start');
    expect(named.filter((name) => !Object.hasOwn(scripts, name ?? ''))).toEqual([]);
  });

  it('names only commands that the program has', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [at('dist/cli/main.js'), '--help']);
    const named = [...(blocks('text')[0] ?? '').matchAll(/^carillon (\w+)/gm)].map(([, name]) => name);
    expect(named).toEqual(['serve', 'publish', 'tail', 'dead', 'handlers']);
    for (const name of named) expect(stdout).toMatch(new RegExp(`^ {2}${name}\\b`, 'm'));
  });

  it('links only to pages that are there', async () => {
    const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, path]) => path ?? '');
    const missing: string[] = [];
    for (const path of links) await readFile(at(path)).catch(({ code }) => code === 'ENOENT' && missing.push(path));
    expect(missing).toEqual([]);
  });
});
