// The real payloads of @octokit/webhooks-examples, as the CloudEvents that a webhook receiver would make of them.
import { createRequire } from 'node:module';

/** The package is JSON and says so to CommonJS only. */
const require = createRequire(import.meta.url);

/** @returns {readonly { id: string, type: string, source: string, subject: string | undefined, data: object }[]} */
export function webhookEvents() {
  const webhooks = require('@octokit/webhooks-examples');
  return webhooks.flatMap(({ name, examples }) =>
    examples.map((payload, index) => ({
      id: `${name}-${index + 1}`,
      type: ['com.github', name, payload.action].filter(Boolean).join('.'),
      source: sourceOf(payload),
      subject: subjectOf(payload),
      data: payload,
    })),
  );
}

/** Where it happened: the repository, else the organization, else GitHub itself. */
function sourceOf({ repository, organization }) {
  const path = repository?.full_name ?? organization?.login;
  return path === undefined ? 'https://github.com' : `https://github.com/${path}`;
}

/** What it is about, and so what order is kept by: an issue or pull request, else the repository, else who did it. */
function subjectOf({ repository, issue, pull_request: pullRequest, organization, sender }) {
  const number = (issue ?? pullRequest)?.number;
  const about = repository?.full_name ?? organization?.login ?? sender?.login;
  return about !== undefined && number !== undefined ? `${about}#${number}` : about;
}
