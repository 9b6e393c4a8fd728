// Writes docs/errors.md from the catalogue of errors (src/core/error-catalogue.ts) and the HTTP mapping of the gateway.
// A test proves that the document and the catalogue say the same: run this after changing the catalogue.
//
//   node scripts/errors-doc.mjs
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from './build.mjs';

const file = fileURLToPath(new URL('../docs/errors.md', import.meta.url));

await build({ ifStale: true, evenWithTypeErrors: true });
const { catalogue } = await import('../dist/core/error-catalogue.js');
const { carillonError } = await import('../dist/core/errors.js');
const { problemOf } = await import('../dist/gateway/problem.js');

/** What each kind means, in the order of the document. */
const kinds = {
  usage: "The caller's code or configuration. Raised early: when a definition is made, or when the bus starts.",
  data: 'An event or a payload. The same event fails again; mend it first.',
  conflict: 'Somebody was first, or somebody said no.',
  unavailable: 'Not now.',
  timeout: 'It took too long.',
  limit: 'A bound of `limits` was reached; `details.limit` names it.',
  storage: 'The disk or the database.',
  bug: 'A defect of Carillon.',
};

const head = `# Errors

<!-- Written by scripts/errors-doc.mjs from src/core/error-catalogue.ts; do not edit. -->

Every error that Carillon raises on purpose stands in one catalogue. Such an error is an \`Error\` with more to say:

| member | holds |
|---|---|
| \`code\` | one of the codes below; it is stable, so branch on it |
| \`kind\` | one of the kinds below |
| \`retryable\` | whether the same call can succeed later, without changing anything |
| \`fix\` | what to do about it: the sentence of the tables below |
| \`details\` | what was at fault: the attribute, limit, path or position; JSON values only |
| \`cause\` | the error behind it, if there is one |

\`isCarillonError(error, code?)\` recognises them, also across two copies of the package in one process, where
\`instanceof\` fails. A retryable publish is repeated with the same event: the same \`(source, id)\` is stored once.

HTTP is the status with which the gateway answers. A few requests are refused by HTTP itself, with a status of its own
(404, 405, 415, 431, ...): see [http.md](http.md#errors). A 503 that may be retried carries \`retry-after: 1\`.
`;

const rowsOf = (kind) => Object.entries(catalogue).filter(([, row]) => row.kind === kind);
const statusOf = (code) => problemOf(carillonError(code, 'x')).status;
const rowText = ([code, { retryable, fix }]) =>
  `| \`${code}\` | ${retryable ? 'yes' : 'no'} | ${statusOf(code)} | ${fix.replaceAll('|', '\\|')} |`;

const sections = Object.entries(kinds).map(([kind, meaning]) => {
  const rows = rowsOf(kind).map(rowText).join('\n');
  return `## ${kind}\n\n${meaning}\n\n| code | retryable | HTTP | what to do |\n|---|---|---|---|\n${rows}\n`;
});

const told = Object.keys(kinds).reduce((sum, kind) => sum + rowsOf(kind).length, 0);
if (told !== Object.keys(catalogue).length) throw new Error('the catalogue has a kind that this script does not know');
await writeFile(file, [head, ...sections].join('\n'));
console.log(`docs/errors.md: ${told} codes`);
