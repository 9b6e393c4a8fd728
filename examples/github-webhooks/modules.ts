import { defineModule, exponential } from 'carillon';
import {
  commentEvents,
  interestEvents,
  issueEvents,
  pullRequestEvents,
  Push,
  refEvents,
  reviewEvents,
} from './events.ts';

/** Pull requests and their reviews; events of one pull request come in order. */
export const reviews = defineModule('reviews', (m) => {
  m.handle(
    pullRequestEvents,
    ({ data }, { log }) => {
      const { title, state, draft } = data.pull_request;
      log.debug(`pull request ${data.number} of ${data.repository.full_name}: ${title} (${draft ? 'draft' : state})`);
    },
    { name: 'pull-requests', concurrency: 8 },
  );
  m.handle(
    reviewEvents,
    ({ data }, { log }) => log.debug(`${data.sender.login} looked at pull request ${data.pull_request.number}`),
    { name: 'reviews' },
  );
});

/**
 * Issues, mirrored into a tracker that is not always there: the first attempt at every `labeled`, `edited` and
 * `transferred` fails here on purpose, so that retries show. The other issues wait for nothing.
 */
export const tracker = defineModule('tracker', (m) => {
  m.handle(
    issueEvents,
    ({ type, data }, { attempt, log }) => {
      if (attempt === 1 && /\.(labeled|edited|transferred)$/.test(type)) throw new Error('the tracker is busy');
      log.debug(`issue ${data.issue.number} of ${data.repository.full_name}: ${data.issue.title}`);
    },
    { name: 'issues', retry: exponential({ attemptsMax: 5, initialMs: 20, maxMs: 200 }) },
  );
  m.handle(
    commentEvents,
    ({ data }, { log }) => log.debug(`${data.comment.user.login} on issue ${data.issue.number}: ${data.comment.body}`),
    { name: 'comments' },
  );
});

/** Pushes, branches and tags. */
export const code = defineModule('code', (m) => {
  m.handle(Push, ({ data }, { log }) => log.debug(`${data.commits.length} commits on ${data.ref}`), { name: 'pushes' });
  m.handle(refEvents, ({ data }, { log }) => log.debug(`${data.ref_type} ${data.ref}`), { name: 'refs' });
});

/** Stars and watchers, in batches: nobody needs to know at once. */
export const interest = defineModule('interest', (m) => {
  m.handleBatch(
    interestEvents,
    (events, { log }) => log.debug(`${events.length} signs of interest in ${events[0]?.data.repository.full_name}`),
    { name: 'stars', batch: { size: 10, waitMs: 20 } },
  );
});

const handledElsewhere = ['pull_request', 'issues', 'issue_comment', 'push', 'create', 'delete', 'star', 'watch'];

/** Everything that no other module here asks for: a pattern, narrowed by a filter. */
export const archive = defineModule('archive', (m) => {
  m.handle('com.github.>', ({ type, source }, { log }) => log.debug(`${type} of ${source}`), {
    name: 'everything-else',
    order: 'none',
    filter: {
      not: {
        any: handledElsewhere.flatMap((event) => [
          { exact: { type: `com.github.${event}` } },
          { prefix: { type: `com.github.${event}.` } },
          // pull_request_review, pull_request_review_comment, pull_request_review_thread
          { prefix: { type: `com.github.${event}_review` } },
        ]),
      },
    },
  });
});
