import { defineModule } from 'carillon';
import { GreetingGiven, GreetingRequested } from './events.ts';

/** A module to be handled by, until you put your own in carillon.config.ts. */
export const welcome = defineModule('welcome', (m) => {
  m.events(GreetingGiven);

  // Before the event is stored: a throw refuses it, and whoever published it is told why.
  m.handleSync(
    GreetingRequested,
    ({ data }) => {
      if (data.name.trim() === '') throw new Error('a greeting needs a name');
    },
    { name: 'refuse-nobody' },
  );

  // After it is stored: at least once, in order for each name, again after a crash.
  m.handle(
    GreetingRequested,
    ({ data: { name } }, context) => {
      const text = `Hello, ${name}!`;
      context.publish(GreetingGiven({ name, text }));
      context.log.info(text);
      return { text };
    },
    { name: 'greet', order: 'key', timeoutMs: 5_000 },
  );
});
