// `npm run check [-- step ...]`: everything about the code that can be judged without running it. One line a step;
// details only of a step that failed. All steps run, so that one run shows everything that is wrong.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SetupError, ensureReady } from './setup.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const modules = join(root, 'node_modules');
const tsc = join(modules, 'typescript7', 'bin', 'tsc');
const tool = (...path) => join(modules, ...path);

/** Each step is one or more commands for Node; they stop at the first that fails. The build comes first: later steps read dist/. */
const steps = [
  { name: 'build', what: 'src/ compiles to dist/', commands: [[join(root, 'scripts', 'build.mjs')]] },
  {
    name: 'types',
    what: 'sources, tests and examples type-check',
    commands: [[tsc, '-p', 'tsconfig.json', '--pretty', 'false']],
  },
  {
    name: 'portable',
    what: 'the platform-neutral folders use nothing of Node',
    commands: [[tsc, '-p', 'tsconfig.portable.json', '--pretty', 'false']],
  },
  {
    name: 'lint',
    what: 'oxlint, with types',
    commands: [
      [tool('oxlint', 'bin', 'oxlint'), '--type-aware', '--deny-warnings', '--report-unused-disable-directives'],
    ],
  },
  { name: 'format', what: 'biome', commands: [[tool('@biomejs', 'biome', 'bin', 'biome'), 'format', '.']] },
  {
    name: 'borders',
    what: 'import direction, cycles, orphans',
    commands: [
      [
        tool('dependency-cruiser', 'bin', 'dependency-cruise.mjs'),
        '--config',
        '.dependency-cruiser.cjs',
        'src',
        'examples',
      ],
    ],
  },
  {
    name: 'unused',
    what: 'unused files, exports and dependencies',
    commands: [
      [tool('knip', 'bin', 'knip.js'), '--no-progress'],
      [tool('knip', 'bin', 'knip.js'), '--no-progress', '--production'],
    ],
  },
  {
    name: 'duplicates',
    what: 'code written twice',
    commands: [[tool('jscpd', 'bin', 'jscpd'), '--config', '.jscpd.json', 'src']],
  },
  { name: 'package', what: 'publint', commands: [[tool('publint', 'src', 'cli.js'), '--strict']] },
  {
    name: 'entries',
    what: 'are-the-types-wrong, on the packed package',
    commands: [[tool('@arethetypeswrong', 'cli', 'dist', 'index.js'), '--pack', '.', '--profile', 'esm-only']],
  },
];

function run(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
    });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', reject);
    child.on('close', (code) => resolve({ ok: code === 0, output }));
  });
}

async function runStep({ name, what, commands }) {
  const startedMs = Date.now();
  let result = { ok: true, output: '' };
  for (const command of commands) {
    result = await run(command);
    if (!result.ok) break;
  }
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1).padStart(5);
  console.log(`${result.ok ? 'ok  ' : 'FAIL'} ${name.padEnd(10)} ${seconds} s  ${what}`);
  if (!result.ok) console.log(`\n${result.output.trim().replaceAll(/^/gm, '     ')}\n`);
  return result.ok;
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !steps.some((step) => step.name === name));
if (unknown.length > 0) {
  console.error(`There is no step ${unknown.join(', ')}. The steps are: ${steps.map((step) => step.name).join(', ')}.`);
  process.exit(2);
}

// A source that does not compile is for the build step to report; only an installation that failed ends the check here.
await ensureReady().catch((error) => {
  if (error instanceof SetupError && existsSync(tsc)) return;
  console.error(`carillon: ${error.message}`);
  process.exit(1);
});

let failures = 0;
for (const step of steps) {
  if (wanted.length > 0 && !wanted.includes(step.name)) continue;
  if (!(await runStep(step))) failures += 1;
}
console.log(failures === 0 ? 'All checks passed.' : `${failures} of the checks failed.`);
process.exitCode = failures === 0 ? 0 : 1;
