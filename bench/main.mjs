// npm run bench: Carillon beside its peers, each in turn, each run in a process of its own. See --help.
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { busyBefore, carillonVersion, fileSystemOf, machine, versionOf } from './machine.mjs';
import { makeWorkDirectory, ownDirectory, runFresh, shuffled, workDirectory } from './measure.mjs';
import { isCarillon, peers } from './peers/index.mjs';
import { providePostgres } from './postgres.mjs';
import { docsText, suiteText } from './report.mjs';
import { buildCarillon, installPeers } from './setup.mjs';
import { engines, names as suiteNames, select, suites as suiteLoaders } from './suites/index.mjs';

const docsFile = fileURLToPath(new URL('../docs/performance.md', import.meta.url));
const resultsFile = fileURLToPath(new URL('results.json', import.meta.url));

const help = `Usage: npm run bench -- [suite ...] [options]

Suites: ${suiteNames.join(', ')}. Without one, all of them.

  --engine E     ${engines.join(' or ')}: the suites of that engine
  --rounds N     rounds of each figure; the median is told (default 5; memory: 1)
  --seconds S    length of each run (default 3)
  --events N     size of the log for memory and start (default 1000000)
  --peers a,b    only these: ${Object.keys(peers).join(', ')}
  --json FILE    write every run, with machine and versions; suites that did not run now are kept
                 as they stand in the file. With bench/results.json, docs/performance.md is written too.
  --docs         only write docs/performance.md from bench/results.json
  --help`;

class UsageError extends Error {}

function positive(name, text, whole = false) {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!(value > 0) || (whole && !Number.isInteger(value))) throw new UsageError(`--${name} must be a positive number`);
  return value;
}

function parse(args) {
  let parsed;
  try {
    parsed = parseArgs({
      args,
      allowPositionals: true,
      options: {
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        events: { type: 'string' },
        engine: { type: 'string' },
        peers: { type: 'string' },
        json: { type: 'string' },
        docs: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError(error.message);
  }
  const { values, positionals } = parsed;
  const wantedPeers = values.peers?.split(',').map((name) => name.trim());
  if (values.engine !== undefined && !engines.includes(values.engine)) {
    throw new UsageError(`There is no engine ${values.engine}.`);
  }
  for (const name of wantedPeers ?? []) if (!(name in peers)) throw new UsageError(`There is no peer ${name}.`);
  return {
    names: selected(positionals, values.engine),
    rounds: positive('rounds', values.rounds, true),
    seconds: positive('seconds', values.seconds) ?? 3,
    events: positive('events', values.events, true),
    wantedPeers,
    json: values.json === undefined ? undefined : resolve(process.env.INIT_CWD ?? process.cwd(), values.json),
    docs: values.docs ?? false,
    help: values.help ?? false,
  };
}

function selected(positionals, engine) {
  try {
    return select(positionals, engine);
  } catch (error) {
    throw new UsageError(error.message);
  }
}

const note = (text) => process.stderr.write(`${text}\n`);

/** What is kept of a run that failed: its first line, because a stack names paths of this machine. */
function failed(error) {
  note(`  failed: ${error.message}`);
  return { error: error.message.split('\n')[0] };
}

/** Which peers take part, and what is known of them. */
async function survey(names) {
  const { probe } = await import('./peers/servers.mjs');
  const servers = new Map();
  const leftOut = [];
  const versions = {};
  const durability = {};
  const present = [];
  for (const name of names) {
    const { server, packages, load } = peers[name];
    if (server && !servers.has(server)) servers.set(server, await probe(server));
    const state = servers.get(server);
    if (state && !state.found) {
      leftOut.push({ peer: name, reason: state.reason });
      continue;
    }
    present.push(name);
    if (isCarillon(name) || name === 'changes') versions.carillon = carillonVersion();
    for (const name of packages) versions[name] = versionOf(name);
    if (state) versions[server] = state.version;
    const promise = state?.durability ?? (await load()).durability;
    if (promise) durability[name] = promise;
  }
  return { present, leftOut, versions, durability };
}

/** Every scenario with every peer, in turn; the order is new in each round. */
async function measureInTurn(name, suite, present, { rounds, seconds }) {
  const runs = [];
  for (let round = 1; round <= rounds; round++) {
    const jobs = suite.scenarios.flatMap(({ name: scenario, peers: of }) =>
      of.filter((peer) => present.includes(peer)).map((peer) => ({ suite: name, scenario, peer, seconds })),
    );
    let done = 0;
    for (const job of shuffled(jobs)) {
      note(`${name} round ${round}/${rounds} ${++done}/${jobs.length}: ${job.scenario} ${peers[job.peer].label}`);
      const busy = await busyBefore();
      const outcome = await runFresh(job, seconds * 1000 + 60_000).catch(failed);
      runs.push({ round, scenario: job.scenario, peer: job.peer, machineBusyBefore: busy, ...outcome });
    }
  }
  return runs;
}

/** A suite of several steps on one log. */
async function measureInSteps(name, suite, { rounds, events }) {
  const limitMs = 120_000 + events / 5;
  const inDirectory = async (work) => {
    const directory = await ownDirectory();
    try {
      return await work((scenario, job) =>
        runFresh({ suite: name, scenario, peer: 'carillon', directory, events, ...job }, limitMs),
      );
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  };
  const runs = [];
  const oneRound = async (round, runStep) => {
    note(`${name} round ${round}/${rounds}`);
    const results = {};
    let failure;
    try {
      await suite.round(runStep, results);
    } catch (error) {
      failure = failed(error);
    }
    for (const { name: scenario } of suite.scenarios) {
      runs.push({ round, scenario, peer: 'carillon', ...(results[scenario] ?? failure) });
    }
  };
  if (suite.prepare) {
    await inDirectory(async (runStep) => {
      note(`${name}: building a log of ${events.toLocaleString('en')} events`);
      await suite.prepare(runStep, { events });
      for (let round = 1; round <= rounds; round++) await oneRound(round, runStep);
    });
  } else {
    for (let round = 1; round <= rounds; round++) await inDirectory((runStep) => oneRound(round, runStep));
  }
  return runs;
}

async function measureSuite(name, suite, options, present, leftOut) {
  const rounds = options.rounds ?? suite.defaultRounds ?? 5;
  const used = new Set(suite.scenarios.flatMap((scenario) => scenario.peers));
  const events = suite.round ? (options.events ?? suite.defaultEvents) : undefined;
  const seconds = suite.round ? undefined : options.seconds;
  const at = new Date().toISOString();
  let runs = [];
  if (!suite.round) runs = await measureInTurn(name, suite, present, { rounds, seconds });
  else if (present.includes('carillon')) runs = await measureInSteps(name, suite, { rounds, events });
  return { at, options: { rounds, seconds, events }, leftOut: leftOut.filter(({ peer }) => used.has(peer)), runs };
}

/** What an earlier go left in the file, where it was the same machine. */
async function earlier(file, now) {
  if (file === undefined || !existsSync(file)) return undefined;
  const before = JSON.parse(await readFile(file, 'utf8'));
  return JSON.stringify(before.machine) === JSON.stringify(now) ? before : undefined;
}

async function writeDocs(suites, results) {
  const existing = existsSync(docsFile) ? await readFile(docsFile, 'utf8') : '';
  await mkdir(join(docsFile, '..'), { recursive: true });
  await writeFile(docsFile, docsText(suites, results, existing));
  note('docs/performance.md written');
}

async function main() {
  const options = parse(process.argv.slice(2));
  if (options.help) return console.log(help);
  const suites = {};
  for (const name of Object.keys(suiteLoaders)) suites[name] = await suiteLoaders[name]();
  if (options.docs) {
    if (!existsSync(resultsFile)) throw new UsageError('There is no bench/results.json to write from.');
    await writeDocs(suites, JSON.parse(await readFile(resultsFile, 'utf8')));
    return;
  }

  const fit = (peer) => options.wantedPeers?.includes(peer) ?? true;
  const asked = Object.keys(peers).filter(
    (peer) => fit(peer) && options.names.some((name) => suites[name].scenarios.some((s) => s.peers.includes(peer))),
  );
  installPeers();
  if (asked.some(isCarillon) || asked.includes('changes')) buildCarillon();
  await makeWorkDirectory();
  const endPostgres = asked.some((peer) => peers[peer].server === 'postgres')
    ? await providePostgres()
    : async () => {};
  try {
    await measureAll(options, suites, asked);
  } finally {
    await endPostgres();
  }
}

async function measureAll(options, suites, asked) {
  if (fileSystemOf(workDirectory) === 'tmpfs')
    note('bench/ lies in memory (tmpfs): what waits for the disk means nothing');

  const { present, leftOut, versions, durability } = await survey(asked);
  for (const { peer, reason } of leftOut) note(`left out: ${peers[peer].label}: ${reason}`);
  const on = machine();
  const before = await earlier(options.json, on);
  const results = {
    machine: on,
    versions: { ...before?.versions, ...versions },
    durability: { ...before?.durability, ...durability },
    suites: { ...before?.suites },
  };
  const texts = [];
  for (const name of options.names) {
    results.suites[name] = await measureSuite(name, suites[name], options, present, leftOut);
    texts.push(suiteText(suites[name], results.suites[name]));
    if (options.json) {
      await mkdir(join(options.json, '..'), { recursive: true });
      await writeFile(options.json, `${JSON.stringify(results, null, 2)}\n`);
    }
  }
  console.log(texts.join('\n'));
  const promises = Object.entries(results.durability).filter(([peer]) => present.includes(peer));
  if (promises.length > 0) {
    console.log('\nWhat each promises when it acknowledges');
    for (const [peer, text] of promises) console.log(`  ${peers[peer].label}: ${text}`);
  }
  if (options.json) note(`\n${relative(process.cwd(), options.json)} written`);
  if (options.json === resultsFile) await writeDocs(suites, results);
  const anyFailed = options.names.some((name) => results.suites[name].runs.some((run) => run.error));
  if (anyFailed) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n\n${help}` : error.message);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
