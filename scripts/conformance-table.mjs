// `node scripts/conformance-table.mjs`: runs the conformance suite on every engine and writes docs/conformance.md from
// what came of it. Fails, and writes nothing, when a case failed: the table says what was seen to hold.
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = join(root, 'docs', 'conformance.md');

const scratch = await mkdtemp(join(tmpdir(), 'carillon-table-'));
try {
  const report = await run(join(scratch, 'report.json'));
  const results = report.testResults
    .flatMap((file) => file.assertionResults)
    .flatMap(({ ancestorTitles: [suite], title, status }) => {
      const engine = /^conformance of (.+)$/.exec(suite ?? '')?.[1];
      return engine === undefined ? [] : [{ engine, id: title.split(' ', 1)[0], title, status }];
    });
  const failed = results.filter(({ status }) => status !== 'passed');
  for (const { engine, title, status } of failed) console.error(`${engine}: ${status}: ${title}`);
  if (failed.length > 0 || results.length === 0) throw new Error(`${failed.length} of ${results.length} cases failed`);
  // Built by the run above.
  const { guarantees } = await import(pathToFileURL(join(root, 'dist', 'testing', 'index.js')).href);
  await writeFile(page, tableOf(guarantees, results));
  console.log(`${page}: ${results.length} results`);
} catch (error) {
  console.error(`conformance-table: ${error.message}`);
  process.exitCode = 1;
} finally {
  await rm(scratch, { recursive: true, force: true });
}

async function run(file) {
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const args = [vitest, 'run', '--project', 'conformance', '--reporter=json', `--outputFile=${file}`];
  // The test of this page would fail while the page is out of date, which is why it is being written.
  args.push('--exclude', 'test/conformance/table.test.ts');
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  return JSON.parse(await readFile(file, 'utf8'));
}

function tableOf(guarantees, results) {
  const engines = [...new Set(results.map(({ engine }) => engine))].sort((a, b) => (a < b ? -1 : 1));
  const cell = (engine, id) => {
    const found = results.find((result) => result.engine === engine && result.id === id);
    if (!found) return 'not run';
    return found.title.includes('(refused: no ') ? 'refused' : 'holds';
  };
  const sections = guarantees.map(({ id, name, cases }) => {
    const heading = `## ${id} ${name}\n\n`;
    if (cases.length === 0) return `${heading}Comes later.\n`;
    const rows = cases.map((one) => row([one.id, one.title, ...engines.map((engine) => cell(engine, one.id))]));
    return `${heading}${row(['case', 'what holds', ...engines])}${row(['---', '---', ...engines.map(() => '---')])}${rows.join('')}`;
  });
  return `# Conformance

Every engine passes the same cases, numbered by guarantee (docs/guarantees.md). *refused* means that the engine declares
to lack the capability, and was seen to refuse it as documented. Written by \`node scripts/conformance-table.mjs\` from a
run of the suite; not to be edited. To run the suite against an engine of your own, see \`describeEngine\` in
\`carillon/testing\`.

${sections.join('\n')}`;
}

function row(cells) {
  return `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |\n`;
}
