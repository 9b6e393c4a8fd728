import { record } from './history.mjs';

const nothing = () => undefined;
const says = (level) => (message, fields) => {
  record({ op: 'said', level, message, why: fields?.error ?? fields?.reason });
  // The others have what this process had: see membership.ts.
  if (message.includes('taken for dead by the others')) record({ op: 'fenced' });
};

/** A logger of the bus that tells the history what is out of the ordinary. */
export const telling = {
  debug: nothing,
  info: nothing,
  warn: says('warn'),
  error: says('error'),
  child: () => telling,
};
