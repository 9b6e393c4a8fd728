import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { problemOf } from '../gateway/problem.ts';
import { catalogue, type ErrorCode } from './error-catalogue.ts';
import { carillonError } from './errors.ts';

const src = fileURLToPath(new URL('../', import.meta.url));
const document = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
const codes = Object.keys(catalogue) as ErrorCode[];

interface Row {
  readonly kind: string;
  readonly retryable: boolean;
  readonly status: number;
  readonly fix: string;
}

/** The tables of the document, by code. */
function documented(): ReadonlyMap<string, Row> {
  const rows = new Map<string, Row>();
  let kind = '';
  for (const line of document.split('\n')) {
    if (line.startsWith('## ')) kind = line.slice('## '.length);
    const row = /^\| `(CARILLON_[A-Z_]+)` \| (yes|no) \| (\d+) \| (.*) \|$/.exec(line);
    if (!row) continue;
    const [, code = '', retryable, status, fix = ''] = row;
    expect(rows.has(code), `${code} stands twice in docs/errors.md`).toBe(false);
    rows.set(code, { kind, retryable: retryable === 'yes', status: Number(status), fix: fix.replaceAll('\\|', '|') });
  }
  return rows;
}

/** The sources that raise errors, without what only recognises or maps them. */
function sources(): string {
  return readdirSync(src, { recursive: true, encoding: 'utf8' })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts') && !path.startsWith('testing/'))
    .filter((path) => path !== 'core/error-catalogue.ts')
    .map((path) => readFileSync(`${src}${path}`, 'utf8'))
    .join('\n')
    .replaceAll(/isCarillonError\([^()]*\)/g, '')
    .replaceAll(/[!=]== 'CARILLON_[A-Z_]+'/g, '');
}

describe('docs/errors.md', () => {
  it('has every code of the catalogue, as the catalogue and the gateway have it', () => {
    const rows = documented();
    for (const code of codes) {
      const { kind, retryable, fix } = catalogue[code];
      const { status } = problemOf(carillonError(code, 'x'));
      expect(rows.get(code), `${code}: run node scripts/errors-doc.mjs`).toEqual({ kind, retryable, status, fix });
    }
  });

  it('names no code that is not in the catalogue', () => {
    expect([...documented().keys()].filter((code) => !Object.hasOwn(catalogue, code))).toEqual([]);
  });
});

describe('the catalogue', () => {
  it('has no code that nothing raises', () => {
    const text = sources();
    expect(codes.filter((code) => !text.includes(`'${code}'`))).toEqual([]);
  });
});
