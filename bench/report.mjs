// The figures as text: for the terminal, and as docs/performance.md.
import { ascending, percentile } from './measure.mjs';
import { peers } from './peers/index.mjs';
import { commandOf } from './suites/index.mjs';
import { summarize } from './summary.mjs';

const begin = '<!-- figures: begin (written by bench, do not edit) -->';
const end = '<!-- figures: end -->';

const plain = (value, digits) =>
  value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const ratioText = (value) => plain(value, value >= 10 ? 1 : 2);

function rangeText({ median, min, max }, format) {
  return min === max ? format(median) : `${format(median)} (${format(min)}..${format(max)})`;
}

function goalText({ wanted, better, unit, met }) {
  const bound = unit === 'x' ? `${ratioText(wanted)} x` : `${wanted} ${unit}`;
  return `${better === 'higher' ? 'at least' : 'at most'} ${bound}: ${met ? 'reached' : 'NOT reached'}`;
}

function tableOf(suite, { scenario, rows }) {
  const keys = suite.figures.filter(({ key }) => rows.some((row) => row.values[key]));
  const other = scenario.reference ?? scenario.subject;
  const withRatio = other !== undefined && rows.some(({ ratio }) => ratio);
  const withGoal = rows.some(({ goals }) => goals.length > 0);
  const ratioHead = scenario.reference ? `÷ ${peers[other].label}` : `${peers[other]?.label} ÷ this`;
  const head = [
    '',
    ...(withRatio ? [ratioHead] : []),
    ...keys.map(({ label }) => label),
    ...(withGoal ? ['goal'] : []),
  ];
  const body = rows.map((row) => [
    peers[row.peer].label,
    ...(withRatio ? [row.ratio ? rangeText(row.ratio, ratioText) : '-'] : []),
    ...keys.map(({ key, digits }) => (row.values[key] ? rangeText(row.values[key], (v) => plain(v, digits)) : '-')),
    ...(withGoal ? [row.goals.map(goalText).join('; ')] : []),
  ]);
  return [head, ...body];
}

function alignedLines(table) {
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  return table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd(),
  );
}

/** A table of Markdown; the first columns stand to the left, the ones with numbers to the right. */
function markdownLines([head, ...body], left = 1) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, column) => (column < left ? '---' : '---:'));
  return [line(head), line(rule), ...body.map(line)];
}

/** How busy the machine was with other work, where that was measured. */
function busyText({ runs }) {
  const seen = ascending(runs.map((run) => run.machineBusyBefore).filter((busy) => busy !== undefined));
  if (seen.length === 0) return '';
  const percent = (part) => `${Math.round(percentile(seen, part) * 100)} %`;
  return `Other work kept the cores ${percent(0.5)} busy before half of the runs, at most ${percent(1)}.`;
}

const firstLine = (text) => text.split('\n')[0];
const failureLines = (rows) =>
  rows.flatMap(({ peer, failures }) =>
    failures.map(({ round, error }) => `${peers[peer].label} failed in round ${round}: ${firstLine(error)}`),
  );

/** A suite's figures for the terminal. */
export function suiteText(suite, result) {
  const lines = ['', `${suite.title}${eventsText(result)}`];
  for (const part of summarize(suite, result)) {
    if (part.rows.length === 0) continue;
    lines.push('', `  ${part.scenario.label}`);
    if (part.rows.some((row) => row.rounds > 0))
      lines.push(...alignedLines(tableOf(suite, part)).map((line) => `    ${line}`));
    lines.push(...failureLines(part.rows).map((line) => `    ${line}`));
  }
  const busy = busyText(result);
  if (busy) lines.push('', `  ${busy}`);
  lines.push(...result.leftOut.map(({ peer, reason }) => `  left out: ${peers[peer].label}: ${reason}`));
  return lines.join('\n');
}

function eventsText({ options }) {
  return options.events ? `, ${plain(options.events, 0)} events` : '';
}

function suiteMarkdown(suite, name, result) {
  const { rounds, seconds } = result.options;
  const length = seconds ? ` of ${seconds} s` : '';
  const lines = [`## ${suite.title}${eventsText(result)}`, '', suite.about, ''];
  const median = `Median of ${rounds} round${rounds === 1 ? '' : 's'}${length} (min..max), ${result.at.slice(0, 10)}.`;
  lines.push(`${median} ${busyText(result)}`.trim(), '');
  for (const part of summarize(suite, result)) {
    if (part.rows.length === 0) continue;
    lines.push(`### ${part.scenario.label}`, '');
    if (part.rows.some((row) => row.rounds > 0)) lines.push(...markdownLines(tableOf(suite, part)), '');
    const failures = failureLines(part.rows);
    if (failures.length > 0) lines.push(...failures.map((line) => `- ${line}`), '');
    const settings = part.rows.filter((row) => row.settings);
    if (settings.length > 0) {
      lines.push('How each was set:', '');
      lines.push(...settings.map((row) => `- ${peers[row.peer].label}: ${row.settings}`), '');
    }
  }
  if (result.leftOut.length > 0) {
    lines.push(...result.leftOut.map(({ peer, reason }) => `- Left out: ${peers[peer].label}: ${reason}`), '');
  }
  const { name: command, engine } = commandOf(name);
  const where = engine === undefined ? '' : ` --engine ${engine}`;
  lines.push(`Repeat: \`npm run bench -- ${command}${where}${repeatOptions(result)}\``, '');
  return lines;
}

function repeatOptions({ options: { rounds, seconds, events } }) {
  const parts = [`--rounds ${rounds}`];
  if (seconds) parts.push(`--seconds ${seconds}`);
  if (events) parts.push(`--events ${events}`);
  return ` ${parts.join(' ')}`;
}

function goalMarkdown(suites, file) {
  const rows = [['figure', 'goal', 'reached', '']];
  for (const [name, result] of Object.entries(file.suites)) {
    for (const { scenario, rows: measured } of summarize(suites[name], result)) {
      for (const { peer, goals } of measured) {
        for (const goal of goals) {
          const beside = scenario.reference ?? (goal.unit === 'x' ? peer : undefined);
          const what = `${suites[name].title}${eventsText(result)}: ${scenario.label}`;
          const sign = goal.better === 'higher' ? '≥' : '≤';
          const number = (value) =>
            goal.unit === 'x' ? `${ratioText(value)} ×` : `${plain(value, value < 10 ? 2 : 0)}`;
          const unit = goal.unit === 'x' ? ` ${peers[beside].label}` : ` ${goal.unit}`;
          rows.push([what, `${sign} ${number(goal.wanted)}${unit}`, number(goal.reached), goal.met ? 'yes' : '**no**']);
        }
      }
    }
  }
  return rows.length > 1 ? ['## Goals', '', ...markdownLines(rows), ''] : [];
}

function machineMarkdown({ machine, versions, durability }) {
  const { cpu, cores, memoryGiB, system, fileSystem, node } = machine;
  const lines = ['## Machine and versions', ''];
  lines.push(`${cores} cores of ${cpu}, ${memoryGiB} GiB, ${system}, ${fileSystem}, Node ${node}.`, '');
  lines.push(...markdownLines([['', 'version'], ...Object.entries(versions)], 2), '');
  lines.push('## What each promises when it acknowledges', '');
  const rows = Object.entries(durability).map(([peer, text]) => [peers[peer].label, text]);
  lines.push(...markdownLines([['', 'durability as measured'], ...rows], 2), '');
  return lines;
}

const opening = `# Performance

Every figure is a ratio to a peer, or to what the hardware allows, measured in one go on one machine. Absolute numbers
are there to judge the ratio by; on another machine they differ, the ratios much less. Treat differences under 15 % as
equal.

Each run is a fresh process; the peers run in turn, in a new random order each round; the two figures of a ratio come
from the same round. Told is the median, with the lowest and the highest. No peer is configured for the comparison: the
servers stand as they are found, and what each of them promises is listed below.`;

const closing = `## How to repeat

\`\`\`
npm run bench                                          # everything, with defaults
npm run bench -- append deliver --rounds 5             # some of it
npm run bench -- --engine postgres                     # what is measured on PostgreSQL
npm run bench -- --rounds 5 --json bench/results.json  # and write this page
npm run bench -- memory --events 5000000
npm run bench -- start --events 10000000
\`\`\`

The peers are installed into \`bench/\` alone. Those with a server look for it on loopback: Redis on port 6379, NATS with
JetStream on 4222. PostgreSQL is the server that \`CARILLON_POSTGRES_URL\` names, else one of the run's own: that of the
tests, with fsync on and its settings as they come. A peer whose server is not found is left out, and named. Each uses
names of its own and removes what it made.`;

/** docs/performance.md. What stands outside the two marks is kept; without them the page is written anew. */
export function docsText(suites, file, existing = '') {
  const figures = goalMarkdown(suites, file);
  for (const name of Object.keys(suites)) {
    if (file.suites[name]) figures.push(...suiteMarkdown(suites[name], name, file.suites[name]));
  }
  figures.push(...machineMarkdown(file));
  const generated = `${begin}\n\n${figures.join('\n').trim()}\n\n${end}`;
  const from = existing.indexOf(begin);
  const to = existing.indexOf(end);
  if (from >= 0 && to > from) return existing.slice(0, from) + generated + existing.slice(to + end.length);
  return `${opening}\n\n${generated}\n\n${closing}\n`;
}
