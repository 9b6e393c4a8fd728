import { defineEvent } from 'carillon';
import { z } from 'zod';

/**
 * What GitHub sends, as far as the handlers here read it. Loose objects keep the rest of each payload.
 * The types are `com.github.<event>[.<action>]`: one definition for each action that GitHub documents in the examples.
 */
const repository = z.looseObject({ full_name: z.string() });
const user = z.looseObject({ login: z.string() });

const pullRequestData = z.looseObject({
  number: z.number().int(),
  pull_request: z.looseObject({ title: z.string(), state: z.enum(['open', 'closed']), draft: z.boolean() }),
  repository,
  sender: user,
});

const reviewData = z.looseObject({
  pull_request: z.looseObject({ number: z.number().int() }),
  repository,
  sender: user,
});

const issueData = z.looseObject({
  issue: z.looseObject({ number: z.number().int(), title: z.string(), state: z.enum(['open', 'closed']).optional() }),
  repository,
  sender: user,
});

const commentData = z.looseObject({
  issue: z.looseObject({ number: z.number().int() }),
  comment: z.looseObject({ body: z.string(), user }),
  repository,
});

const pushData = z.looseObject({
  ref: z.string().startsWith('refs/'),
  commits: z.array(z.looseObject({ id: z.string().length(40), message: z.string() })),
  repository,
});

const refData = z.looseObject({ ref: z.string(), ref_type: z.enum(['branch', 'tag']), repository });

const interestData = z.looseObject({
  repository: repository.extend({ stargazers_count: z.number().int() }),
  sender: user,
});

function defineActions<Data extends z.ZodType>(
  event: string,
  actions: readonly string[],
  data: Data,
  description: string,
) {
  return actions.map((action) => defineEvent(`com.github.${event}.${action}`, { description, data }));
}

export const pullRequestEvents = defineActions(
  'pull_request',
  [
    'opened',
    'assigned',
    'closed',
    'converted_to_draft',
    'labeled',
    'locked',
    'ready_for_review',
    'reopened',
    'review_request_removed',
    'review_requested',
    'synchronize',
    'unassigned',
    'unlabeled',
    'unlocked',
  ],
  pullRequestData,
  'Something happened to a pull request',
);

export const reviewEvents = [
  ...defineActions('pull_request_review', ['submitted', 'dismissed'], reviewData, 'A pull request was reviewed'),
  ...defineActions(
    'pull_request_review_comment',
    ['created', 'deleted', 'edited'],
    reviewData,
    'A line of a pull request was commented on',
  ),
  ...defineActions(
    'pull_request_review_thread',
    ['resolved', 'unresolved'],
    reviewData,
    'A thread was resolved or not',
  ),
];

export const issueEvents = defineActions(
  'issues',
  [
    'edited',
    'assigned',
    'deleted',
    'demilestoned',
    'labeled',
    'locked',
    'milestoned',
    'opened',
    'pinned',
    'reopened',
    'transferred',
    'unassigned',
    'unlabeled',
    'unlocked',
    'unpinned',
  ],
  issueData,
  'Something happened to an issue',
);

export const commentEvents = defineActions(
  'issue_comment',
  ['created', 'deleted', 'edited'],
  commentData,
  'An issue was commented on',
);

export const Push = defineEvent('com.github.push', { description: 'Commits or a tag were pushed', data: pushData });

export const refEvents = [
  defineEvent('com.github.create', { description: 'A branch or tag was made', data: refData }),
  defineEvent('com.github.delete', { description: 'A branch or tag was removed', data: refData }),
];

export const interestEvents = [
  ...defineActions('star', ['created', 'deleted'], interestData, 'A star was given or taken back'),
  ...defineActions('watch', ['started'], interestData, 'Somebody watches the repository'),
];
