// Replays 329 real GitHub webhooks through a running event server, and tells how they were handled.
// `npm run demo` runs this, once the clone is set up.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import cliProgress from 'cli-progress';
import { webhookEvents } from './cloud-events.mjs';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const config = fileURLToPath(new URL('./carillon.config.ts', import.meta.url));

/** Publishes at once; more would only wait in line. */
const PUBLISHERS = 16;
/** How long the whole replay may take. */
const DEADLINE_MS = 60_000;

/** The real server, as `carillon serve` runs it, on a free port with a data directory of its own. */
async function startServer(dataDirectory, onOutcome) {
  const args = [main, 'serve', '--json', '--port', '0', '--data', dataDirectory, '--config', config];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.on('data', (chunk) => (log += chunk));
  const exited = once(child, 'exit');
  const listening = new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const told = JSON.parse(line);
      if (told.kind === 'listening') resolve(told);
      else onOutcome(told);
    });
    void exited.then(([code]) => reject(new Error(`the server has ended with code ${code}\n${log}`)));
  });
  const stop = async () => {
    child.kill('SIGTERM');
    const [code] = await exited;
    if (code !== 0) throw new Error(`the server has ended with code ${code}\n${log}`);
  };
  return { ...(await listening), stop, log: () => log };
}

/** CloudEvents over HTTP in binary mode: attributes are headers, the payload is the body. */
async function publish(url, { id, type, source, subject, data }) {
  const headers = { 'ce-specversion': '1.0', 'ce-id': id, 'ce-type': type, 'ce-source': encodeURI(source) };
  if (subject !== undefined) headers['ce-subject'] = encodeURIComponent(subject);
  const response = await fetch(`${url}/events`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify(data),
  });
  if (response.status !== 202) throw new Error(`${type} was answered ${response.status}: ${await response.text()}`);
  return response.json();
}

/** A bar on a terminal, a line now and then elsewhere. */
function createProgress(total) {
  if (process.stdout.isTTY) {
    const bar = new cliProgress.SingleBar({ format: 'handled {bar} {value} of {total}', hideCursor: true });
    bar.start(total, 0);
    return { update: (value) => bar.update(value), stop: () => bar.stop() };
  }
  const step = Math.ceil(total / 5);
  return {
    update: (value) => {
      if (value % step === 0 || value === total) console.log(`handled ${value} of ${total}`);
    },
    stop: () => undefined,
  };
}

const percentile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

function report(outcomes, seconds) {
  const rows = [...groups(outcomes)];
  const lines = rows.toSorted(([a], [b]) => a.localeCompare(b)).map(([name, own]) => [name, ...figures(own)]);
  const all = ['in all', ...figures(outcomes)];
  const table = [['handler', 'handled', 'retries', 'p50 ms', 'p99 ms'], ...lines, all];
  const widths = all.map((_cell, column) => Math.max(...table.map((row) => row[column].length)));
  console.log();
  for (const [name, ...numbers] of table) {
    console.log([name.padEnd(widths[0]), ...numbers.map((cell, index) => cell.padStart(widths[index + 1]))].join('  '));
  }
  console.log(
    `\nin ${seconds.toFixed(2)} s; latency is from the moment the log took the event until it was handled, retries included`,
  );
}

function groups(outcomes) {
  const found = new Map();
  for (const outcome of outcomes) {
    if (!found.has(outcome.subscription)) found.set(outcome.subscription, []);
    found.get(outcome.subscription).push(outcome);
  }
  return found;
}

function figures(outcomes) {
  const handled = outcomes.filter(({ kind }) => kind === 'handled');
  const latencies = handled.map(({ latencyMs }) => latencyMs).toSorted((a, b) => a - b);
  return [
    String(handled.length),
    String(outcomes.filter(({ kind }) => kind === 'retried').length),
    percentile(latencies, 0.5).toFixed(1),
    percentile(latencies, 0.99).toFixed(1),
  ];
}

/** Runs it all. Resolves with whether every webhook was handled, once each. */
export async function replay() {
  const events = webhookEvents();
  const outcomes = [];
  const handled = new Map();
  const progress = createProgress(events.length);
  let done;
  const finished = new Promise((resolve) => (done = resolve));
  const dataDirectory = await mkdtemp(join(tmpdir(), 'carillon-demo-'));
  try {
    const server = await startServer(dataDirectory, (outcome) => {
      outcomes.push(outcome);
      if (outcome.kind !== 'handled') return;
      handled.set(outcome.id, (handled.get(outcome.id) ?? 0) + 1);
      progress.update(handled.size);
      if (handled.size === events.length) done();
    });
    console.log(
      `carillon at ${server.url}, ${server.handlers.length} handlers in ${server.modules.length} modules; ${events.length} real GitHub webhooks`,
    );
    const startedMs = performance.now();
    const queue = events.values();
    const publisher = async () => {
      for (const event of queue) await publish(server.url, event);
    };
    await Promise.all(Array.from({ length: PUBLISHERS }, publisher));
    const deadline = setTimeout(() => done(), DEADLINE_MS);
    await finished;
    clearTimeout(deadline);
    const seconds = (performance.now() - startedMs) / 1000;
    await server.stop();
    progress.stop();
    report(outcomes, seconds);
  } finally {
    progress.stop();
    await rm(dataDirectory, { recursive: true, force: true });
  }
  const twice = [...handled.values()].filter((times) => times > 1).length;
  if (twice > 0) console.log(`${twice} were handled more than once`);
  console.log(`${handled.size} of ${events.length} handled`);
  return handled.size === events.length && twice === 0;
}
