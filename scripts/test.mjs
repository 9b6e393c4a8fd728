// `npm test -- [vitest filters and options]`: makes the clone ready, runs every project (or those asked for with
// --project), says what ran against what, and ends with the line `N passed, N failed`.
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { basename, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startPostgres } from './postgres-server.mjs';
import { ensureReady, SetupError } from './setup.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const args = process.argv.slice(2);
/** With a name pattern vitest reports everything else as skipped; that is the reader's wish, not a skipped test. */
const narrowedByName = args.some((arg) => /^(-t|--testNamePattern)(=|$)/.test(arg));

const suites = [
  { name: 'unit', folder: 'src', against: () => 'the source in src/' },
  {
    name: 'conformance',
    folder: join('test', 'conformance'),
    against: (files) => `the source in src/: ${files.map((file) => basename(file, '.test.ts')).join(', ')}`,
  },
  {
    name: 'postgres',
    folder: join('test', 'postgres'),
    against: () => 'the source in src/ and real servers, with real processes that are killed',
  },
  { name: 'property', folder: join('test', 'property'), against: () => 'the source in src/, by random histories' },
  { name: 'examples', folder: 'examples', against: () => 'the source in src/, and the built package in dist/' },
  { name: 'e2e', folder: join('test', 'e2e'), against: () => 'the built package in dist/, as real processes' },
];

try {
  await ensureReady();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`carillon: ${error.message}`);
  console.log('0 passed, 1 failed');
  process.exit(1);
}

const scratch = await mkdtemp(join(tmpdir(), 'carillon-test-'));
const givenPostgres = process.env.CARILLON_POSTGRES_URL;
const ownPostgres = givenPostgres ? undefined : await startPostgres();
let verdict;
try {
  const reportFile = join(scratch, 'report.json');
  const exitCode = await runVitest(reportFile);
  const report = await readFile(reportFile, 'utf8').then(JSON.parse, () => undefined);
  verdict = judge(report, exitCode);
} finally {
  await ownPostgres?.dispose();
  await rm(scratch, { recursive: true, force: true });
}
for (const line of verdict.lines) console.log(line);
process.exitCode = verdict.ok ? 0 : 1;
console.log(`${verdict.passed} passed, ${verdict.failed} failed`);

function runVitest(reportFile) {
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [vitest, 'run', ...reporters, ...args], {
      cwd: root,
      stdio: 'inherit',
      env: { ...process.env, CARILLON_POSTGRES_URL: givenPostgres || ownPostgres.url() },
    });
    const forward = (signal) => child.kill(signal);
    process.on('SIGINT', forward).on('SIGTERM', forward);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      process.off('SIGINT', forward).off('SIGTERM', forward);
      resolve(signal ? 128 + constants.signals[signal] : code);
    });
  });
}

/** What the report means. Whatever is wrong counts as a failure, so that the last line never looks better than it was. */
function judge(report, exitCode) {
  if (!report) {
    return { ok: false, passed: 0, failed: 1, lines: ['', `The test run ended early (exit code ${exitCode}).`] };
  }
  const files = report.testResults.map((result) => ({
    path: relative(root, result.name),
    broken: result.status === 'failed' && !result.assertionResults.some((test) => test.status === 'failed'),
    tests: result.assertionResults,
  }));
  const tests = files.flatMap((file) => file.tests.map((test) => ({ ...test, path: file.path })));
  const count = (status) => tests.filter((test) => test.status === status).length;
  const passed = count('passed');
  const lines = ['', ...describeSuites(files)];
  let failed = count('failed');

  const broken = files.filter((file) => file.broken);
  for (const file of broken) lines.push(`Failed outside any test: ${file.path}`);
  failed += broken.length;

  const left = tests.filter((test) => test.status !== 'passed' && test.status !== 'failed');
  if (left.length > 0 && !narrowedByName) {
    lines.push('These tests did not run. A test either runs or is deleted; skip, todo and only are not for keeping:');
    for (const test of left) lines.push(`  ${test.status}: ${test.path}: ${test.fullName}`);
    failed += left.length;
  }
  if (passed + failed === 0) {
    lines.push('No test ran.');
    failed = 1;
  }
  if (exitCode !== 0 && failed === 0) {
    lines.push(
      `Every test passed, but the run reported an error outside the tests (exit code ${exitCode}); see above.`,
    );
    failed = 1;
  }
  return { ok: failed === 0, passed, failed, lines };
}

function describeSuites(files) {
  const postgres = ownPostgres
    ? `${ownPostgres.version}, started for this run`
    : 'the server that CARILLON_POSTGRES_URL names';
  const lines = [`Node ${process.versions.node}; PostgreSQL: ${postgres}:`];
  for (const suite of suites) {
    const own = files.filter((file) => file.path.startsWith(suite.folder + sep));
    if (own.length === 0) continue;
    const ran = own
      .flatMap((file) => file.tests)
      .filter((test) => test.status === 'passed' || test.status === 'failed');
    const size = `${ran.length} tests in ${own.length} files`;
    lines.push(
      `  ${suite.name.padEnd(12)} ${size.padEnd(24)} against ${suite.against(own.map((file) => file.path).sort())}`,
    );
  }
  return lines;
}
