import { readFileSync, readdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import { guarantees } from '../../src/testing/index.ts';

const page = readFileSync(new URL('../../docs/conformance.md', import.meta.url), 'utf8');
const engines = readdirSync(new URL('.', import.meta.url))
  .flatMap((file) => /^(.+)\.test\.ts$/.exec(file)?.[1] ?? [])
  .filter((name) => name !== 'table')
  .sort();
const cells = (line: string): string[] => line.slice(2, -2).split(' | ');

// When one of these fails, docs/conformance.md is out of date: node scripts/conformance-table.mjs

it('docs/conformance.md lists exactly the cases there are', () => {
  const listed = page.split('\n').filter((line) => /^\| G\d/.test(line));
  const expected = guarantees.flatMap(({ cases }) => cases.map(({ id, title }) => [id, title.replaceAll('|', '\\|')]));
  expect(listed.map((line) => cells(line).slice(0, 2))).toEqual(expected);
  const bad = listed.filter((line) =>
    cells(line)
      .slice(2)
      .some((cell) => cell !== 'holds' && cell !== 'refused'),
  );
  expect(bad).toEqual([]);
});

it('docs/conformance.md has a column for each engine, and a section for each guarantee', () => {
  const heads = page.split('\n').filter((line) => line.startsWith('| case |'));
  for (const head of heads) expect(cells(head).slice(2)).toEqual(engines);
  const sections = page.split('\n').flatMap((line) => /^## (.+)$/.exec(line)?.[1] ?? []);
  expect(sections).toEqual(guarantees.map(({ id, name }) => `${id} ${name}`));
});

it('every case has a number of its own, under its guarantee', () => {
  const ids = guarantees.flatMap(({ id, cases }) => cases.map((one) => [id, one.id] as const));
  expect(new Set(ids.map(([, id]) => id)).size).toBe(ids.length);
  for (const [guarantee, id] of ids) expect(id).toMatch(new RegExp(`^${guarantee}-\\d+$`));
});
